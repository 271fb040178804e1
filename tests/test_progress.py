"""What the live line of a training says on a made-up clock, and what a run will take (HOURS)."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.training import speed, status
from custom.training.progress import Progress
from custom.training.settings import Settings
from custom.training.speed import Speed, measure
from tests.conftest import Main, Patch


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


@pytest.mark.parametrize("learning_starts", [0, 1000, 10**9])
def test_the_steps_take_the_hours_that_were_asked_for(learning_starts: int) -> None:
    seconds_per_step = Speed(playing=0.001, learning=0.01, step_bytes=7000)
    steps = seconds_per_step.steps_in(3600, learning_starts)
    warm_up = min(learning_starts, steps // 10)  # as `Recipe.with_budget` shortens it
    taken = warm_up * seconds_per_step.playing + (steps - warm_up) * seconds_per_step.learning
    assert taken == pytest.approx(3600, rel=1e-3)


def test_steps_that_learn_are_slower(small_recipe: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(speed, "PARTS", (0.2, 0.2, 0.2))
    game = find_game("Pong")
    recipe = load_recipe(str(small_recipe), game)
    values = recipe.hyperparams.replace(train_freq=1, gradient_steps=8)
    measured = measure(replace(recipe, hyperparams=values), game, Settings(seed=0))
    assert 0 < measured.playing < measured.learning


def test_a_dry_run_says_what_a_training_takes(
    small_recipe: Path, tmp_path: Path, monkeypatch: Patch, main: Main
) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_: Speed(0.01, 0.1, step_bytes=10**7))
    flags = ["--game", "Pong", "--recipe", small_recipe, "--steps", 400, "--eval-freq", 50]
    status, said, _ = main("scripts.train", *flags, "--logs", tmp_path, "--dry-run")
    assert status == 0
    assert "PongNoFrameskip-v4:\n" in said
    assert "games at once: 1; updates: 90, 1 after each 4 steps\n" in said  # after 40 of warm-up
    assert "memory: 4.0 GB for a replay of 400 steps\n" in said
    assert "evaluations: 8, each of 10 full games\n" in said
    assert "time: 0:00:36 by 10 steps/s with learning and 100 without" in said
    assert list(tmp_path.iterdir()) == []
