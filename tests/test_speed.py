"""HOURS: a budget in hours, by the speed that is measured before a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.training import speed
from custom.training.settings import Settings
from custom.training.speed import Speed, measure
from tests.conftest import Main, Patch


@pytest.mark.parametrize("learning_starts", [0, 1000, 10**9])
def test_the_steps_take_the_hours_that_were_asked_for(learning_starts: int) -> None:
    seconds_per_step = Speed(playing=0.001, learning=0.01)
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
    monkeypatch.setattr(speed, "measure", lambda *_: Speed(0.01, 0.1))
    monkeypatch.setattr(speed, "bytes_per_step", lambda *_: 10**7)
    flags = ["--game", "Pong", "--recipe", small_recipe, "--steps", 400, "--eval-freq", 50]
    status, said, _ = main("scripts.train", *flags, "--logs", tmp_path, "--dry-run")
    assert status == 0
    assert "PongNoFrameskip-v4:\n" in said
    assert "games at once: 1; updates: 90, 1 after each 4 steps\n" in said  # after 40 of warm-up
    assert "memory: 4.0 GB for a replay of 400 steps\n" in said
    assert "evaluations: 8, full games in each: 10\n" in said
    assert "time: 0:00:36 by 10 steps/s with learning and 100 without" in said
    assert list(tmp_path.iterdir()) == []
