"""Callbacks of a training: periodic ones, checkpoints, the record of games, stop on request.

Periods are in steps of all environments together. `on_training_end` may be called twice: by SB3,
and by `train` if a training stops early.
"""

import csv
from typing import IO

from stable_baselines3.common.callbacks import BaseCallback

from custom.runs.agents import save_agent
from custom.runs.folder import GAMES_FILE, Run
from custom.system.console import say
from custom.training.status import Status

KEPT = 3  # checkpoints


class PeriodicCallback(BaseCallback):
    """Calls `on_period` every `freq` steps, however many environments step at once.

    If `on_period` raises OSError, the training prints it and continues.

    :param freq: steps of all environments together
    """

    def __init__(self, freq: int) -> None:
        super().__init__()
        self.freq = freq

    def _on_step(self) -> bool:
        before = self.num_timesteps - self.training_env.num_envs
        if before // self.freq == self.num_timesteps // self.freq:
            return True
        try:
            self.on_period()
        except OSError as error:  # a full disk may have room again the next time
            name = type(self).__name__
            say(f"step {self.num_timesteps:,}: {name} failed: {error}; the training continues")
        return True

    def on_period(self) -> None:
        """To be overridden."""
        raise NotImplementedError


class StopTraining(Exception):  # noqa: N818  # nothing is wrong
    """Raised by a callback to end `learn` between two rollouts."""


class StopOnRequest(BaseCallback):
    """Ends the training before the next rollout, if a stop was requested; list it last."""

    def __init__(self, status: Status) -> None:
        super().__init__()
        self.status = status

    def _on_rollout_start(self) -> None:
        if self.status.stop_requested:
            raise StopTraining

    def _on_step(self) -> bool:
        return True


class GameRecord(BaseCallback):
    """Writes every finished training game to ``training_games.csv``.

    :param run: its folder has the file
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self._file: IO[str] | None = None

    def _on_training_start(self) -> None:
        self._file = (self.run.path / GAMES_FILE).open("a", newline="")
        if self._file.tell() == 0:
            self._write("steps", "frames", "score", "game_frames")

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                score, length = info["episode"]["r"], info["episode"]["l"]
                frames = self.num_timesteps * self.run.facts["frame_skip"]
                self._write(self.num_timesteps, frames, score, length)
        return True

    def _write(self, *row: object) -> None:
        assert self._file is not None
        csv.writer(self._file).writerow(row)
        self._file.flush()

    def _on_training_end(self) -> None:
        if self._file is not None:
            self._file.close()


class Checkpoints(PeriodicCallback):
    """Saves the agent atomically, under the zoo's file name, and keeps the last `KEPT`."""

    def __init__(self, run: Run, freq: int) -> None:
        super().__init__(freq)
        self.run = run

    def _on_training_start(self) -> None:
        for path in self.run.checkpoints():  # a resumed training writes later ones again
            if int(path.name.split("_")[2]) > self.num_timesteps:
                path.unlink()

    def on_period(self) -> None:
        """Save a checkpoint, then delete the oldest ones."""
        save_agent(self.model, self.run.path / f"rl_model_{self.num_timesteps}_steps.zip")
        for old in self.run.checkpoints()[:-KEPT]:
            old.unlink()
