"""SB3's logger writes to W&B: a row at each dump, with all that it holds then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.logger import KVWriter


class RowWriter(KVWriter):
    """Passes each dump of the logger on as one row.

    :param log: takes a row
    :param frame_skip: frames per step
    :param before: called ahead of each row
    :ivar evaluated_at: steps of the last row with an evaluation in it
    """

    def __init__(
        self,
        log: Callable[[dict[str, Any]], None],
        frame_skip: int,
        before: Callable[[], None],
    ) -> None:
        self.log = log
        self.frame_skip = frame_skip
        self.before = before
        self.evaluated_at = 0
        self._since: tuple[float, int] | None = None

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Log what was recorded for W&B."""
        self.before()
        kept = (key for key in key_values if "wandb" not in (key_excluded.get(key) or ()))
        row = {key: plain(key_values[key]) for key in kept}
        if "eval/mean_score" in row:
            self.evaluated_at = step
        row |= self._rate(step, "eval/mean_score" in row)
        self.log({key: value for key, value in row.items() if value is not None} | self.at(step))

    def at(self, step: int) -> dict[str, int]:
        """Where a row stands."""
        return {"steps": step, "frames": step * self.frame_skip}

    def restart_clock(self) -> None:
        """What took time since the last row was no training."""
        if self._since is not None:
            self._since = time.monotonic(), self._since[1]

    def _rate(self, step: int, after_evaluation: bool) -> dict[str, float]:
        """Steps per second since the last row, of training alone."""
        now, before = time.monotonic(), self._since
        self._since = now, step
        if before is None or after_evaluation or now <= before[0] or step <= before[1]:
            return {}
        return {"time/steps_per_second": (step - before[1]) / (now - before[0])}

    def close(self) -> None:
        """The session is closed by who opened it."""


def plain(value: Any) -> Any:
    """A number, a text or a list of numbers as Python has them; None for what W&B does not take."""
    if isinstance(value, np.generic | th.Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else None
