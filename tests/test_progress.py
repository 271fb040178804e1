"""What the live line of a training says, on a made-up clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from custom.training import status
from custom.training.progress import Progress, duration


class Clock:
    """A training of 10,000 steps, 1,000 of warm-up, with an evaluation each 1,000 steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(status.time, "monotonic", lambda: self.now)
        shared = status.Status()
        made: Any = SimpleNamespace(best=None, seconds_to_come=lambda _: 60, status=shared)
        self.evaluation = made
        self.line = Progress(10_000, lambda: [], self.evaluation)
        model = SimpleNamespace(
            acts_in_warm_up=False, num_timesteps=0, learning_starts=1000, exploration_rate=0.5
        )
        self.line.model = model  # type: ignore[assignment]
        self.line._on_training_start()

    def play(self, steps: int, rate: float) -> str:
        """Play and learn at a number of steps a second; what the line says then."""
        for _ in range(steps):
            self.now += 1 / rate
            self.line.num_timesteps += 1
            self.line.model.num_timesteps += 1
            self.line._mark(self.evaluation.status.clock.trained)
        return self.line._text()


def test_the_warm_up_tells_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Clock(monkeypatch)
    assert "500 steps/s, 0.00 core-hours, warm-up, epsilon 1.00" in run.play(1000, rate=500)


def test_the_time_left_is_of_steps_that_learn_and_of_evaluations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Clock(monkeypatch)
    run.play(1000, rate=500)
    line = run.play(1000, rate=50)
    assert (
        "50 steps/s, 0.00 core-hours, 4 min left, epsilon 0.50" in line
    )  # 8,000 steps / 50 + 60 seconds


def test_an_evaluation_is_not_counted_as_slow_training(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Clock(monkeypatch)
    run.play(2000, rate=50)
    with run.evaluation.status.clock.evaluation():
        run.now += 500
    assert "50 steps/s" in run.play(100, rate=50)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (720, "12 min"), (12_000, "3 h 20 min"), (187_200, "2 d 4 h")],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text
