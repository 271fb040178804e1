"""What of a training is tracked, and when: games, evaluations, whatever SB3's logger dumps.

Every row has the steps and frames at which it stands. Rows are written where SB3 dumps its logger
and where an evaluation ends; games that ended since the last one come before it, one row each.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from custom.evaluation.protocol import Protocol, epsilon_greedy, evaluation_seed
from custom.runs.folder import Run
from custom.runs.provenance import versions_of
from custom.system.console import say
from custom.tracking.session import Session
from custom.tracking.wish import Tracking
from custom.tracking.writer import RowWriter

AT_THE_END = ("state", "steps", "wall_clock_seconds")  # of run.json: what only then is known
NOT_CONFIG = ("packages", "wandb", *AT_THE_END)


class Tracker(BaseCallback):
    """Tracks a training; it changes nothing in it.

    :param protocol: of the evaluations during training
    :param should_stop: asked at every step of a film
    """

    def __init__(
        self, run: Run, tracking: Tracking, protocol: Protocol, should_stop: Callable[[], bool]
    ) -> None:
        super().__init__()
        self.run = run
        self.tracking = tracking
        self.protocol = protocol
        self._should_stop = should_stop
        self.session = Session(run, tracking, config_of(run))
        self._writer = RowWriter(self._log, run.facts["frame_skip"], self._flush)
        self._games: list[dict[str, Any]] = []
        self._filmed_at = 0

    def _on_training_start(self) -> None:
        self.session.start()
        self.session.define_axes()
        if self.session.is_open:
            self.logger.output_formats.append(self._writer)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info and self.session.is_open:
                score, length = float(info["episode"]["r"]), int(info["episode"]["l"])
                row = {"training/score": score, "training/game_frames": length}
                self._games.append(row | self._writer.at(self.num_timesteps))
        if self.tracking.videos and self._writer.evaluated_at > self._filmed_at:
            self._filmed_at = self._writer.evaluated_at
            if self.session.is_open:
                self._film()
                self._writer.restart_clock()
        return True

    def _on_training_end(self) -> None:
        self._flush()
        if self._writer in self.logger.output_formats:
            self.logger.output_formats.remove(self._writer)

    def _flush(self) -> None:
        games, self._games = self._games, []
        for game in games:
            self.session.log(game)

    def _log(self, row: dict[str, Any]) -> None:
        self.session.log({**row, **memory(self.model.device)})

    def _film(self) -> None:
        """One game of the agent as it is now, by the protocol of the evaluations."""
        from custom.evaluation.film import film_game  # what it imports is not needed to train

        steps, epsilon = self._filmed_at, self.protocol.epsilon
        seed = evaluation_seed(self.protocol.seed, steps)
        act = epsilon_greedy(self.model, epsilon or 0.0, np.random.default_rng(seed))
        film = self.run.path / "videos" / f"{steps}_steps.mp4"
        try:
            film.parent.mkdir(exist_ok=True)
            score = film_game(self.run, act, seed, film, self._should_stop)
        except KeyboardInterrupt:  # a stopped training stops its film
            return
        except Exception as error:  # a film is not worth a lost run
            say(f"step {steps:,}: no film ({error}); training goes on")
            return
        self.session.log_video(film, {"eval/video_score": score, **self._writer.at(steps)})

    def finish(self, exit_code: int) -> None:
        """Send what a run folder has at the end; then the session ends, in a bounded time."""
        if not self.session.is_open:
            return
        facts = self.run.facts
        self.session.summarize(**{key: facts[key] for key in AT_THE_END if key in facts})
        evaluation = self.run.path / "evaluation.json"
        with suppress(OSError, ValueError):  # there is none, or half of one
            self.session.summarize(final_evaluation=json.loads(evaluation.read_text()))
        if self.tracking.model and self.run.final_model.is_file():
            self.session.save_model(self.run.final_model)
        self.session.finish(exit_code)


def config_of(run: Run) -> dict[str, Any]:
    """The resolved recipe and all that is needed to repeat the run."""
    facts = {key: value for key, value in run.facts.items() if key not in NOT_CONFIG}
    return {
        **facts,
        "hyperparams": run.hyperparams.given,
        "versions": versions_of(run.facts["packages"]),
    }


def memory(device: th.device) -> dict[str, float]:
    """Gigabytes that this process holds, of the machine and of its GPU."""
    held = {"system/memory_gb": resident() / 1e9}
    if device.type == "cuda":
        held["system/gpu_memory_gb"] = th.cuda.memory_reserved(device) / 1e9
    return held


def resident() -> int:
    """Bytes of memory that this process holds; the most so far, where only that is known."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
