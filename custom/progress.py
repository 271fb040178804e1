"""The live line of a training run, and how long the whole of it will take."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.dqn.dqn import DQN
from tqdm import tqdm

from custom.console import say

DAY = 24 * 3600
FORECAST_AFTER = 60.0  # seconds
BAR = (
    "{percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
)
QUIET_LINE_EVERY = 30.0  # seconds, where there is no terminal to redraw a bar on


class Progress(BaseCallback):
    """Steps, steps/s, time left, epsilon, mean score of the last 100 games, best evaluation.

    :param total: the run's budget in steps
    :param last_scores: scores of the last training games
    :param best: the best evaluation so far, if any
    """

    model: DQN

    def __init__(
        self,
        total: int,
        last_scores: Callable[[], list[float]],
        best: Callable[[], float | None],
    ) -> None:
        super().__init__()
        self.total = total
        self.last_scores = last_scores
        self.best = best
        self._bar: tqdm[Any] | None = None
        self._live = sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self.total,
            initial=self.model.num_timesteps,
            unit=" steps",
            smoothing=0.02,  # the rate of the last minute or so: warm-up steps are far cheaper
            mininterval=0.5 if self._live else QUIET_LINE_EVERY,
            dynamic_ncols=True,
            bar_format=BAR,
            disable=not self._live,
        )
        self._line_at = time.monotonic()
        self._line_steps = self.model.num_timesteps
        self._forecast = Forecast(self.total, self._line_at)

    def _on_step(self) -> bool:
        assert self._bar is not None
        if self._live and self._bar.update(self.training_env.num_envs):
            self._bar.set_postfix_str(self._state(), refresh=False)
        now = time.monotonic()
        if not self._live and now - self._line_at >= QUIET_LINE_EVERY:
            self._print_line(now)
        for line in self._forecast.lines(now, self.num_timesteps, self._warm()):
            say(line)
        return True

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _state(self) -> str:
        scores, best = self.last_scores(), self.best()
        mean = f"{np.mean(scores):.1f}" if scores else "-"
        shown_best = "-" if best is None else f"{best:.1f}"
        epsilon = self.model.exploration_rate if self._warm() else 1.0  # all actions are random
        return f"epsilon {epsilon:.2f}, last {len(scores)} games: {mean}, best eval {shown_best}"

    def _warm(self) -> bool:
        return self.num_timesteps > self.model.learning_starts

    def _print_line(self, now: float) -> None:
        rate = (self.num_timesteps - self._line_steps) / (now - self._line_at)
        left = (self.total - self.num_timesteps) / rate
        say(
            f"step {self.num_timesteps:,} of {self.total:,}, {rate:.0f} steps/s,"
            f" {duration(left)} left, {self._state()}"
        )
        self._line_at, self._line_steps = now, self.num_timesteps


class Forecast:
    """Says once how long a run will take, from a stretch in which the agent learns.

    :param total: the budget in steps
    :param started: when the run began, in seconds
    """

    def __init__(self, total: int, started: float) -> None:
        self.total = total
        self.started = started
        self._learning_since: tuple[float, int] | None = None
        self._told = self._done = False

    def lines(self, now: float, steps: int, learning: bool) -> list[str]:
        """What there is to say now, if anything.

        :param steps: taken so far
        :param learning: whether the warm-up, whose steps are far cheaper, is over
        """
        if learning and self._learning_since is None:
            self._learning_since = now, steps
        if self._done or now - self.started < FORECAST_AFTER:
            return []
        if self._learning_since is None:
            told, self._told = self._told, True
            waiting = "how long the run will take shows once the agent learns, after the warm-up"
            return [] if told else [waiting]
        since, at = self._learning_since
        if now - since < FORECAST_AFTER / 4:
            return []
        self._done = True
        rate = (steps - at) / (now - since)
        whole = now - self.started + (self.total - steps) / rate
        lines = [f"the whole run will take about {duration(whole)} ({rate:.0f} steps/s)"]
        if whole > DAY:
            fits = max(int(rate * DAY) // 10_000, 1) * 10_000
            lines.append(f"for a run of a day: STEPS={fits}; a GPU is faster, too")
        return lines


def duration(seconds: float) -> str:
    """E.g. ``2 d 4 h``, ``3 h 20 min``, ``12 min``, ``40 s``."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / DAY
    if days >= 1:
        return f"{int(days)} d {int(hours % 24)} h"
    if hours >= 1:
        return f"{int(hours)} h {int(minutes % 60)} min"
    return f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"
