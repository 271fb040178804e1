"""Callbacks and their periods, in real trainings of a small network."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import DQN

from custom.evaluation.protocol import Protocol, Scores
from custom.learner.off_policy import AtariOffPolicy
from custom.recipe.games import find_game
from custom.training import evaluation
from custom.training.evaluation import FixedEpsilonEvaluation, held_out_states
from custom.training.prepare import Training, prepare
from custom.training.settings import Settings
from custom.training.train import train
from tests.conftest import WHOLE, Patch, small, typed

BREAKOUT = find_game("Breakout")


def experiment(folder: Path, steps: int, **changed: object) -> tuple[Training, DQN]:
    """A small experiment on Breakout, whose random games last about 200 steps."""
    recipe = small(**{"exploration_fraction": 1.0, "n_timesteps": steps, **changed})
    made = prepare(recipe, BREAKOUT, Settings(0, folder, eval_freq=10**6, save_freq=150))
    return made, made.model


def test_every_training_game_of_every_environment_is_recorded(tmp_path: Path) -> None:
    made, _model = experiment(tmp_path, 900, n_envs=2, learning_starts=10**6)
    assert train(made) == 0
    games = pd.read_csv(made.run.path / "training_games.csv")
    monitors = [pd.read_csv(made.run.path / f"{i}.monitor.csv", skiprows=1) for i in (0, 1)]
    played = pd.concat(monitors)
    assert len(games) == len(played) >= 2
    assert sorted(games["score"]) == sorted(played["r"])
    assert sorted(games["game_frames"]) == sorted(played["l"])
    assert list(games["frames"]) == [4 * steps for steps in games["steps"]]
    assert games["steps"].is_monotonic_increasing


def test_periods_are_steps_however_many_environments_there_are(tmp_path: Path) -> None:
    made, _model = experiment(tmp_path, 500, n_envs=4)
    train(made)
    steps = [int(path.name.split("_")[2]) for path in made.run.checkpoints()]
    assert steps == [152, 300, 452]  # the first after 150, 300, 450 that four environments reach


def test_the_best_agent_is_that_of_the_highest_mean(tmp_path: Path, monkeypatch: Patch) -> None:
    made, model = experiment(tmp_path, 100)
    means = iter([1.0, 3.0, 2.0])
    monkeypatch.setattr(Protocol, "play", lambda *_: Scores([next(means)], [1]))
    saved: list[int] = []

    def save_agent(model: AtariOffPolicy, path: Path) -> None:
        saved.append(model.num_timesteps)
        path.touch()

    monkeypatch.setattr(evaluation, "save_agent", save_agent)
    callback = FixedEpsilonEvaluation(made.run, 40, Protocol(episodes=1), made.status)
    model.learn(120, callback=callback)
    assert saved == [40, 80]
    assert callback.best == 3.0


def test_the_held_out_states_are_always_the_same(monkeypatch: Patch) -> None:
    monkeypatch.setattr(evaluation, "HELD_OUT_STATES", 512)
    first, second = (held_out_states(BREAKOUT, typed(WHOLE), seed=1) for _ in range(2))
    assert first.shape == (512, 4, 84, 84)
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("budget", "freq"), [(400, 400), (20_000, 10_000), (10**6, 50_000), (10**8, 250_000)]
)
def test_the_period_of_evaluations_grows_with_the_budget(budget: int, freq: int) -> None:
    settings = Settings(seed=0).resolved(budget)
    assert (settings.eval_freq, settings.save_freq) == (freq, freq)
