"""What the callbacks of one training share: its clock, and whether a stop was requested."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]  # (2,): wall-clock, CPU


def _now() -> Seconds:
    return np.array([time.monotonic(), time.process_time()])


class Clock:
    """Wall-clock and CPU seconds of a run since its start, those of evaluations also apart.

    Both include the time before each resume. CPU seconds are of all threads of the main process:
    with one thread and one process, they measure a run's cost on a busy machine, too.

    :param state: of an earlier clock, from which this one continues; None: start at 0
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        before = state or {"spent": [0, 0], "evaluating": [0, 0], "evaluations": 0}
        self._start = _now() - before["spent"]
        self._evaluating: Seconds = np.array(before["evaluating"], dtype=float)
        self._evaluations = before["evaluations"]

    @property
    def trained(self) -> Seconds:
        """Seconds so far, without evaluations."""
        spent: Seconds = _now() - self._start
        return spent - self._evaluating

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Count the time in the ``with`` block as an evaluation."""
        began = _now()
        try:
            yield
        finally:
            self._evaluating += _now() - began
            self._evaluations += 1

    @property
    def seconds_per_evaluation(self) -> float:
        """Mean wall-clock seconds of an evaluation; 0 before the first."""
        return float(self._evaluating[0] / max(self._evaluations, 1))

    def facts(self) -> dict[str, float]:
        """What run.json records."""
        wall, cpu = (_now() - self._start).round(1).tolist()
        evaluating = round(float(self._evaluating[1]), 1)
        return {
            "wall_clock_seconds": wall,
            "cpu_seconds": cpu,
            "evaluation_cpu_seconds": evaluating,
        }

    def state(self) -> dict[str, Any]:
        """Plain values from which a new clock continues."""
        return {
            "spent": (_now() - self._start).tolist(),
            "evaluating": self._evaluating.tolist(),
            "evaluations": self._evaluations,
        }


@dataclass
class Status:
    """Shared by the callbacks of one training.

    :param stop_requested: the training is to end
    :param evaluation_cut_short: a requested stop ended the last evaluation early
    """

    clock: Clock
    stop_requested: bool = False
    evaluation_cut_short: bool = False

    def request_stop(self) -> None:
        """End the training after the current rollout."""
        self.stop_requested = True
