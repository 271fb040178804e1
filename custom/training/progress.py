"""The progress line of a training."""

import time
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from custom.learner.off_policy import AtariOffPolicy
from custom.system.console import say
from custom.training.evaluation import FixedEpsilonEvaluation

BAR = "{percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
QUIET_LINE_EVERY = 30.0  # seconds between lines if stderr is no terminal


class Progress(BaseCallback):
    """Steps, steps/s, core-hours, time left, epsilon, mean of the last 100 games, best evaluation.

    Steps/s are those since learning began, without the time of evaluations. The time left includes
    the evaluations to come. It is not shown in the warm-up, whose steps are far cheaper.

    :param total: the run's budget in steps
    :param evaluation: for its best score, its time to come and the clock
    """

    model: AtariOffPolicy

    def __init__(self, total: int, evaluation: FixedEpsilonEvaluation) -> None:
        super().__init__()
        self.total = total
        self.evaluation = evaluation
        self._clock = evaluation.status.clock
        self._bar: tqdm[Any] | None = None

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self.total,
            initial=self.model.num_timesteps,
            mininterval=0.5,
            dynamic_ncols=True,
            bar_format=BAR,
            disable=None,  # where stderr is no terminal
        )
        self._line_at = time.monotonic()
        self._began = self._here()
        self._is_warm_up = not self._is_learning()

    def _on_step(self) -> bool:
        assert self._bar is not None
        if self._is_warm_up and self._is_learning():
            self._is_warm_up, self._began = False, self._here()
        if self._bar.update(self.training_env.num_envs):
            self._bar.set_postfix_str(self._text(), refresh=False)
        now = time.monotonic()
        if self._bar.disable and now - self._line_at >= QUIET_LINE_EVERY:
            self._line_at = now
            say(f"step {self.num_timesteps:,} of {self.total:,}, {self._text()}")
        return True

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _text(self) -> str:
        """The line behind the number of steps."""
        scores = [game["r"] for game in self.model.ep_info_buffer or ()]
        best = self.evaluation.best
        mean = f"{np.mean(scores):.1f}" if scores else "-"
        shown_best = "-" if best is None else f"{best:.1f}"
        at_random = self._is_warm_up and not self.model.acts_in_warm_up
        epsilon = 1.0 if at_random else self.model.exploration_rate
        seconds, steps = self._here() - self._began
        rate = steps / max(seconds, 1e-9)
        left = "warm-up"
        if not self._is_warm_up:
            training = max(self.total - self.num_timesteps, 0) / max(rate, 1e-9)
            left = f"{duration(training + self.evaluation.seconds_to_come(self.total))} left"
        return (
            f"{rate:.0f} steps/s, {self._clock.trained[1] / 3600:.2f} core-hours, {left},"
            f" epsilon {epsilon:.2f}, last {len(scores)} games: {mean}, best eval {shown_best}"
        )

    def _here(self) -> npt.NDArray[np.float64]:
        """Seconds trained and steps so far."""
        return np.array([self._clock.trained[0], self.model.num_timesteps])

    def _is_learning(self) -> bool:
        return self.model.num_timesteps > self.model.learning_starts


def duration(seconds: float) -> str:
    """A duration as text: ``3:20:00``, ``2 days, 4:00:00``."""
    return str(timedelta(seconds=round(min(seconds, 1e9))))
