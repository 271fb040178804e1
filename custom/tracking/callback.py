"""What is tracked of a training: its games, its evaluations, and all that SB3's logger dumps.

Every row has the steps and frames at which it stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from custom.evaluation.protocol import Protocol, epsilon_greedy, evaluation_seed
from custom.runs.folder import Run
from custom.runs.provenance import versions_of
from custom.system.console import say
from custom.tracking.session import Session
from custom.tracking.wish import Tracking

TIMES = ("wall_clock_seconds", "cpu_seconds", "evaluation_cpu_seconds")
AT_THE_END = ("state", "steps", *TIMES)  # of run.json: known only at the end
NOT_CONFIG = ("packages", "tracking", "wandb", *AT_THE_END)
LOGGED = (bool, int, float, str, list, np.generic)  # W&B takes these as they are


class RowWriter(KVWriter):
    """Passes each dump of SB3's logger on as one row.

    :param frame_skip: frames per step
    :ivar evaluated_at: steps of the last row with an evaluation in it
    """

    def __init__(self, session: Session, frame_skip: int) -> None:
        self.session = session
        self.frame_skip = frame_skip
        self.evaluated_at = 0

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Log all numbers, texts and lists, also those that are excluded from other formats."""
        row = {key: value for key, value in key_values.items() if isinstance(value, LOGGED)}
        if "eval/mean_score" in row:
            self.evaluated_at = step
        self.log(row, step)

    def log(self, row: dict[str, Any], step: int) -> None:
        """Log a row with where it stands."""
        self.session.log({**row, "steps": step, "frames": step * self.frame_skip})

    def close(self) -> None:
        """Nothing: the session is closed by its owner."""


class Tracker(BaseCallback):
    """Tracks a training; it changes nothing in it.

    :param protocol: of the evaluations during training
    :param should_stop: asked at every step of a film
    :param rows: of `Session`
    """

    def __init__(
        self,
        run: Run,
        tracking: Tracking,
        protocol: Protocol,
        should_stop: Callable[[], bool],
        rows: int = 0,
    ) -> None:
        super().__init__()
        self.run = run
        self.tracking = tracking
        self.protocol = protocol
        self._should_stop = should_stop
        self.session = Session(run, tracking, config_of(run), rows)
        self._writer = RowWriter(self.session, run.facts["frame_skip"])
        self._filmed_at = 0

    def _on_training_start(self) -> None:
        self.session.start()
        self.logger.output_formats.append(self._writer)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                score, length = float(info["episode"]["r"]), int(info["episode"]["l"])
                row = {"training/score": score, "training/game_frames": length}
                self._writer.log(row, self.num_timesteps)
        if self.tracking.videos and self._writer.evaluated_at > self._filmed_at:
            self._filmed_at = self._writer.evaluated_at
            if self.session.is_open:
                self._film()
        return True

    def _film(self) -> None:
        """One game of the current agent, by the protocol of the evaluations."""
        import wandb

        from custom.evaluation.film import film_game  # what it imports is not needed to train

        steps, epsilon = self._filmed_at, self.protocol.epsilon
        seed = evaluation_seed(self.protocol.seed, steps)
        act = epsilon_greedy(self.model, epsilon or 0.0, np.random.default_rng(seed))
        film = self.run.path / "videos" / f"{steps}_steps.mp4"
        try:
            film.parent.mkdir(exist_ok=True)
            score = film_game(self.run, act, seed, film, self._should_stop)
            row = {"eval/video_score": score, "eval/video": wandb.Video(str(film))}
        except KeyboardInterrupt:  # a stopped training stops its film
            return
        except Exception as error:  # a film is not worth a lost run
            say(f"step {steps:,}: no film ({error}); the training continues")
            return
        self._writer.log(row, steps)

    def finish(self, exit_code: int) -> None:
        """Log what is known only at the end, and end the session."""
        values = {key: self.run.facts[key] for key in AT_THE_END if key in self.run.facts}
        evaluation = self.run.path / "evaluation.json"
        with suppress(OSError, ValueError):  # there is none, or half of one
            values["final_evaluation"] = json.loads(evaluation.read_text())
        self.session.tell(lambda run: run.summary.update(values))
        agent = self.run.final_model
        if self.tracking.model and agent.is_file():
            self.session.tell(lambda run: run.log_artifact(agent, f"model-{run.id}", "model"))
        self.session.finish(exit_code)


def config_of(run: Run) -> dict[str, Any]:
    """The resolved recipe and all that is needed to repeat the run."""
    facts = {key: value for key, value in run.facts.items() if key not in NOT_CONFIG}
    return {
        **facts,
        "hyperparams": run.hyperparams.given,
        "versions": versions_of(run.facts["packages"]),
    }
