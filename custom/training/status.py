"""What the callbacks of one training share: whether it is to end, and how long it has taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """Wall-clock and CPU seconds over all processes that trained a run, evaluations told apart.

    CPU seconds are of all threads of this process. With one thread and one process they say on a
    busy machine, too, what a run costs.

    :param state: of an earlier clock, to count on from
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self._began = self._now()
        self._before = state["spent"] if state else [0.0, 0.0]
        self.evaluating = state["evaluating"] if state else [0.0, 0.0]
        self.evaluations = state["evaluations"] if state else 0

    @staticmethod
    def _now() -> list[float]:
        return [time.monotonic(), time.process_time()]

    @property
    def spent(self) -> list[float]:
        """Seconds of wall-clock and of CPU."""
        parts = zip(self._now(), self._began, self._before, strict=True)
        return [now - began + before for now, began, before in parts]

    @property
    def trained(self) -> float:
        """Seconds of wall-clock without evaluations."""
        return float(self.spent[0] - self.evaluating[0])

    @property
    def core_hours(self) -> float:
        """CPU hours without evaluations."""
        return float(self.spent[1] - self.evaluating[1]) / 3600

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Counts the time in its body as evaluation."""
        began = self._now()
        try:
            yield
        finally:
            parts = zip(self.evaluating, self._now(), began, strict=True)
            self.evaluating = [total + now - start for total, now, start in parts]
            self.evaluations += 1

    def facts(self) -> dict[str, float]:
        """For run.json."""
        (wall, cpu), (_, evaluating) = self.spent, self.evaluating
        return {
            "wall_clock_seconds": round(wall, 1),
            "cpu_seconds": round(cpu, 1),
            "evaluation_cpu_seconds": round(evaluating, 1),
        }

    def state(self) -> dict[str, Any]:
        """For the saved state of a training."""
        more = {"evaluating": self.evaluating, "evaluations": self.evaluations}
        return {"spent": self.spent, **more}


class Status:
    """Shared by the callbacks of one training.

    :param clock: None: a new one
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.stop_requested = False
        self.evaluation_cut_short = False

    def request_stop(self) -> None:
        """End the training after the step, or the rollout, at hand."""
        self.stop_requested = True
