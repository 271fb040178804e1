"""Callbacks of a training: periodic ones, checkpoints, the record of games, stop on request.

Periods are in steps of all environments together. `on_training_end` may be called twice: by SB3,
and by `train` if a training stops early.
"""

from __future__ import annotations

import csv
from collections import deque
from pathlib import Path
from typing import IO

from stable_baselines3.common.callbacks import BaseCallback

from custom.runs.agents import save_agent
from custom.runs.folder import GAMES_FILE, Run
from custom.system.console import say
from custom.training.status import Status


class PeriodicCallback(BaseCallback):
    """Calls `on_period` every `freq` steps, however many environments step at once.

    If `on_period` raises OSError, the training prints it and continues.

    :param freq: steps of all environments together; at least 1
    """

    def __init__(self, freq: int) -> None:
        super().__init__()
        self.freq = max(freq, 1)
        self._next = self.freq  # step of the next call

    def rewind(self, steps: int) -> None:
        """Continue from an earlier step of the run."""
        self._next = (steps // self.freq + 1) * self.freq

    def _on_step(self) -> bool:
        if self.num_timesteps < self._next:
            return True
        self._next = (self.num_timesteps // self.freq + 1) * self.freq
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
    """Ends the training after the current step, if a stop was requested.

    :param saves: a `StateSaver` ends the training instead, after the current rollout
    """

    def __init__(self, status: Status, *, saves: bool) -> None:
        super().__init__()
        self.status = status
        self.saves = saves

    def _on_step(self) -> bool:
        return self.saves or not self.status.stop_requested


class GameRecord(BaseCallback):
    """Writes every finished training game to ``training_games.csv``; has the last 100 scores.

    :param folder: the run folder
    :param frame_skip: frames per step
    """

    def __init__(self, folder: Path, frame_skip: int) -> None:
        super().__init__()
        self.folder = folder
        self.frame_skip = frame_skip
        self.last_scores: deque[float] = deque(maxlen=100)
        self._file: IO[str] | None = None

    def _on_training_start(self) -> None:
        self._file = (self.folder / GAMES_FILE).open("a", newline="")
        if self._file.tell() == 0:
            csv.writer(self._file).writerow(["steps", "frames", "score", "game_frames"])
            self._file.flush()

    def _on_step(self) -> bool:
        assert self._file is not None
        for info in self.locals["infos"]:
            if "episode" in info:
                score, length = info["episode"]["r"], info["episode"]["l"]
                self.last_scores.append(float(score))
                steps = self.num_timesteps
                row = [steps, steps * self.frame_skip, score, length]
                csv.writer(self._file).writerow(row)
                self._file.flush()
        return True

    def _on_training_end(self) -> None:
        if self._file is not None:
            self._file.close()

    def rewind(self, steps: int) -> None:
        """Continue from an earlier step, at which the file ends."""
        with (self.folder / GAMES_FILE).open(newline="") as opened:
            _, *games = csv.reader(opened)
        self.last_scores.extend(float(game[2]) for game in games)


class Checkpoints(PeriodicCallback):
    """Saves the agent atomically, under the zoo's file name, and deletes old ones.

    :param keep: number of checkpoints that are kept
    """

    def __init__(self, run: Run, freq: int, keep: int) -> None:
        super().__init__(freq)
        self.run = run
        self.keep = keep

    def on_period(self) -> None:
        """Save a checkpoint, then delete the oldest ones."""
        save_agent(self.model, self.run.path / f"rl_model_{self.num_timesteps}_steps.zip")
        for old in self.run.checkpoints()[: -self.keep]:
            old.unlink()

    def rewind(self, steps: int) -> None:
        """Continue from an earlier step; later checkpoints are deleted."""
        super().rewind(steps)
        for path in self.run.checkpoints():
            if int(path.name.split("_")[2]) > steps:
                path.unlink()
