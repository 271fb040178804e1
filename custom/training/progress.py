"""The progress line of a training."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from custom.learner.off_policy import AtariOffPolicy
from custom.system.console import say
from custom.training.evaluation import FixedEpsilonEvaluation

DAY = 24 * 3600
BAR = "{percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
QUIET_LINE_EVERY = 30.0  # seconds between lines if stderr is no terminal
WINDOW = 60.0  # seconds over which steps/s are averaged


class Progress(BaseCallback):
    """Steps, steps/s, core-hours, time left, epsilon, mean of the last 100 games, best evaluation.

    Steps/s leave out the time of evaluations. The time left includes the evaluations to come. It is
    not shown in the warm-up, whose steps are far cheaper.

    :param total: the run's budget in steps
    :param last_scores: returns the scores of the last training games
    :param evaluation: for its best score, its time to come and the clock
    """

    model: AtariOffPolicy

    def __init__(
        self,
        total: int,
        last_scores: Callable[[], list[float]],
        evaluation: FixedEpsilonEvaluation,
    ) -> None:
        super().__init__()
        self.total = total
        self.last_scores = last_scores
        self.evaluation = evaluation
        self._clock = evaluation.status.clock
        self._bar: tqdm[Any] | None = None
        self._live = sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self.total,
            initial=self.model.num_timesteps,
            mininterval=0.5 if self._live else QUIET_LINE_EVERY,
            dynamic_ncols=True,
            bar_format=BAR,
            disable=not self._live,
        )
        self._line_at = time.monotonic()
        self._marks = deque([(self._clock.trained, self.model.num_timesteps)])  # seconds, steps
        self._warm_up_is_over = self._is_learning()

    def _on_step(self) -> bool:
        assert self._bar is not None
        self._mark(self._clock.trained)
        if self._live and self._bar.update(self.training_env.num_envs):
            self._bar.set_postfix_str(self._text(), refresh=False)
        now = time.monotonic()
        if not self._live and now - self._line_at >= QUIET_LINE_EVERY:
            self._line_at = now
            say(f"step {self.num_timesteps:,} of {self.total:,}, {self._text()}")
        return True

    def _mark(self, trained: float) -> None:
        """Add a mark once a second; drop old marks, and those of the warm-up when it is over."""
        if self._is_learning() and not self._warm_up_is_over:
            self._warm_up_is_over = True
            self._marks.clear()
        if not self._marks or trained - self._marks[-1][0] > 1:
            self._marks.append((trained, self.num_timesteps))
        while len(self._marks) > 2 and trained - self._marks[0][0] > WINDOW:
            self._marks.popleft()

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _text(self) -> str:
        """The line behind the number of steps."""
        scores, best = self.last_scores(), self.evaluation.best
        mean = f"{np.mean(scores):.1f}" if scores else "-"
        shown_best = "-" if best is None else f"{best:.1f}"
        at_random = not self._is_learning() and not self.model.acts_in_warm_up
        epsilon = 1.0 if at_random else self.model.exploration_rate
        seconds_then, steps_then = self._marks[0]
        seconds = self._clock.trained - seconds_then
        rate = (self.num_timesteps - steps_then) / max(seconds, 1e-9)
        left = "warm-up"
        if self._is_learning():
            training = max(self.total - self.num_timesteps, 0) / max(rate, 1e-9)
            left = f"{duration(training + self.evaluation.seconds_to_come(self.total))} left"
        return (
            f"{rate:.0f} steps/s, {self._clock.core_hours:.2f} core-hours, {left},"
            f" epsilon {epsilon:.2f}, last {len(scores)} games: {mean}, best eval {shown_best}"
        )

    def _is_learning(self) -> bool:
        """Whether the warm-up is over."""
        return self.num_timesteps > self.model.learning_starts


def duration(seconds: float) -> str:
    """A duration as text: ``2 d 4 h``, ``3 h 20 min``, ``12 min`` or ``40 s``."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / DAY
    if days >= 1:
        return f"{int(days)} d {int(hours % 24)} h"
    if hours >= 1:
        return f"{int(hours)} h {int(minutes % 60)} min"
    return f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"
