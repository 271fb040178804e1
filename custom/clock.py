"""How long a run has taken, over all processes that trained it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """Wall-clock and CPU seconds; those of evaluations are in them and told apart, too.

    CPU seconds are of all threads of this process. With one thread and one process they say on a
    busy machine, too, what a run costs.
    """

    def __init__(self) -> None:
        self._began = self._now()
        self._before = [0.0, 0.0]
        self.evaluating = [0.0, 0.0]
        self.evaluations = 0

    @staticmethod
    def _now() -> list[float]:
        return [time.monotonic(), time.process_time()]

    @property
    def spent(self) -> list[float]:
        """Seconds of wall-clock and of CPU."""
        parts = zip(self._now(), self._began, self._before, strict=True)
        return [now - began + before for now, began, before in parts]

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Whatever is done in here is evaluation."""
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

    @property
    def trained(self) -> float:
        """Seconds of wall-clock without evaluations."""
        return self.spent[0] - self.evaluating[0]

    def state(self) -> dict[str, Any]:
        """For a state that is saved."""
        more = {"evaluating": self.evaluating, "evaluations": self.evaluations}
        return {"spent": self.spent, **more}

    def resume(self, state: dict[str, Any]) -> None:
        """Count on from a saved state."""
        self._before, self.evaluating = state["spent"], state["evaluating"]
        self.evaluations = state["evaluations"]
