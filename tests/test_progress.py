"""What the live line of a training says, on a made-up clock."""

from types import SimpleNamespace
from typing import Any

from custom.training import status
from custom.training.progress import Progress
from tests.conftest import Patch


class Play:
    """A training of 10,000 steps, 1,000 of warm-up, with 60 seconds of evaluations to come."""

    def __init__(self, monkeypatch: Patch) -> None:
        self.now = 0.0
        monkeypatch.setattr(status.time, "monotonic", lambda: self.now)
        self.clock = status.Clock()
        shared = status.Status(self.clock)
        made: Any = SimpleNamespace(best=None, seconds_to_come=lambda _: 60, status=shared)
        self.line = Progress(10_000, made)
        self.line.model = self.model = SimpleNamespace(  # type: ignore[assignment]
            acts_in_warm_up=False,
            num_timesteps=0,
            learning_starts=1000,
            exploration_rate=0.5,
            ep_info_buffer=[{"r": 1.0}, {"r": 4.0}],
            get_env=lambda: SimpleNamespace(num_envs=1),
        )
        self.line._on_training_start()

    def play(self, steps: int, rate: float) -> str:
        for _ in range(steps):
            self.now += 1 / rate
            self.line.num_timesteps += 1
            self.model.num_timesteps += 1
            self.line._on_step()
        return self.line._text()


def test_the_time_left_is_of_steps_that_learn_and_of_evaluations(monkeypatch: Patch) -> None:
    said = Play(monkeypatch).play(1000, rate=500)
    assert "500 steps/s, 0.00 core-hours, warm-up, epsilon 1.00, last 2 games: 2.5" in said
    run = Play(monkeypatch)
    run.play(1000, rate=500)
    said = run.play(1000, rate=50)
    assert "50 steps/s, 0.00 core-hours, 0:03:40 left, epsilon 0.50" in said  # 8,000 / 50 + 60
    with run.clock.evaluation():
        run.now += 500
    assert "50 steps/s" in run.play(100, rate=50)  # which no evaluation slows
