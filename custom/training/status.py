"""What the callbacks of one training share: its clock, and whether a stop was requested."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class Clock:
    """Wall-clock and CPU seconds of a run since its start, those of evaluations also apart.

    Both include the time before each resume. CPU seconds are of all threads of the main process:
    with one thread and one process, they measure a run's cost on a busy machine, too.

    :param state: of an earlier clock, from which this one continues; None: start at 0
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self._began = self._now()
        self._before = state["spent"] if state else [0.0, 0.0]
        self.evaluating = state["evaluating"] if state else [0.0, 0.0]  # wall-clock, CPU
        self.evaluations = state["evaluations"] if state else 0

    @staticmethod
    def _now() -> list[float]:
        return [time.monotonic(), time.process_time()]

    @property
    def spent(self) -> list[float]:
        """Seconds so far: wall-clock, CPU."""
        parts = zip(self._now(), self._began, self._before, strict=True)
        return [now - began + before for now, began, before in parts]

    @property
    def trained(self) -> float:
        """Wall-clock seconds so far, without evaluations."""
        return float(self.spent[0] - self.evaluating[0])

    @property
    def core_hours(self) -> float:
        """CPU hours without evaluations."""
        return float(self.spent[1] - self.evaluating[1]) / 3600

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Count the time in the ``with`` block as an evaluation."""
        began = self._now()
        try:
            yield
        finally:
            parts = zip(self.evaluating, self._now(), began, strict=True)
            self.evaluating = [total + now - start for total, now, start in parts]
            self.evaluations += 1

    @property
    def seconds_per_evaluation(self) -> float:
        """Mean wall-clock seconds of an evaluation; 0 before the first."""
        return float(self.evaluating[0] / max(self.evaluations, 1))

    def facts(self) -> dict[str, float]:
        """What run.json records."""
        (wall, cpu), (_, evaluating) = self.spent, self.evaluating
        return {
            "wall_clock_seconds": round(wall, 1),
            "cpu_seconds": round(cpu, 1),
            "evaluation_cpu_seconds": round(evaluating, 1),
        }

    def state(self) -> dict[str, Any]:
        """Plain values from which a new clock continues."""
        return {
            "spent": self.spent,
            "evaluating": self.evaluating,
            "evaluations": self.evaluations,
        }


@dataclass
class Status:
    """Shared by the callbacks of one training.

    :param stop_requested: the training is to end
    :param evaluation_cut_short: a requested stop ended the last evaluation early
    """

    clock: Clock = field(default_factory=Clock)
    stop_requested: bool = False
    evaluation_cut_short: bool = False

    def request_stop(self) -> None:
        """End the training after the current step, or after the rollout if its state is saved."""
        self.stop_requested = True
