"""Callbacks, periods, NaN guard, the live line and HOURS, in real trainings of a small network."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch as th
from stable_baselines3 import DQN

from custom.evaluation.protocol import Protocol, Scores
from custom.learner.dqn import AtariDQN, AtariQRDQN
from custom.learner.off_policy import AtariOffPolicy
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.replay.buffer import REWARD
from custom.runs.agents import save_agent
from custom.system.errors import NonFiniteError
from custom.training import evaluation, speed, status
from custom.training.evaluation import FixedEpsilonEvaluation
from custom.training.prepare import Training, prepare
from custom.training.progress import Progress
from custom.training.settings import Settings
from custom.training.speed import Speed, measure
from custom.training.train import train
from tests.conftest import Patch, main, small
from tests.test_dqn import learner, weights

BREAKOUT = find_game("Breakout")


def experiment(folder: Path, steps: int, **changed: object) -> tuple[Training, DQN]:
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


@pytest.mark.parametrize(("full_at", "expected"), [(0, [40, 80]), (80, [40, 120])])
def test_the_best_agent_is_the_best_that_could_be_saved(
    full_at: int, expected: list[int], tmp_path: Path, monkeypatch: Patch
) -> None:
    made, model = experiment(tmp_path, 100)
    means = iter([1.0, 3.0, 2.0])
    monkeypatch.setattr(Protocol, "play", lambda *_: Scores([next(means)], [1]))
    saved: list[int] = []

    def save_agent(model: AtariOffPolicy, path: Path) -> None:
        if model.num_timesteps == full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved.append(model.num_timesteps)
        path.touch()

    monkeypatch.setattr(evaluation, "save_agent", save_agent)
    callback = FixedEpsilonEvaluation(made.run, 40, Protocol(episodes=1), made.status)
    model.learn(120, callback=callback)
    assert saved == expected
    assert callback.best == 3.0


@pytest.mark.parametrize(
    ("budget", "freq"), [(400, 400), (20_000, 10_000), (10**6, 50_000), (10**8, 250_000)]
)
def test_the_period_of_evaluations_grows_with_the_budget(budget: int, freq: int) -> None:
    settings = Settings(seed=0).resolved(budget)
    assert (settings.eval_freq, settings.save_freq) == (freq, freq)


Spoil = Callable[[AtariDQN], Any]
LOSS = "the loss (a reward, or the output of a network)"


def once(spoil: Spoil) -> Callable[..., bool]:
    def callback(names: dict[str, Any], _: Any) -> bool:
        if names["self"].num_timesteps == 60:
            spoil(names["self"])
        return True

    return callback


def in_q_net(model: AtariDQN) -> None:
    model.q_net.features_extractor.cnn[2].weight.data[3, 1, 0, 0] = float("nan")


def in_target_net(model: AtariDQN) -> None:
    model.q_net_target.q_net[0].bias.data[0] = float("inf")


def in_a_reward(model: AtariDQN) -> None:
    model.replay_buffer.facts[..., REWARD] = np.nan


def in_a_gradient(model: AtariDQN) -> None:
    bias = model.q_net.features_extractor.cnn[0].bias
    bias.register_hook(lambda grad: grad * float("nan"))


def in_the_q_values(model: AtariDQN) -> None:
    head = model.q_net.q_net[0]
    head.register_forward_hook(lambda _m, _i, out: out * float("inf") if out.requires_grad else out)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (in_q_net, "the parameter q_net.features_extractor.cnn.2.weight"),
        (in_target_net, "the parameter q_net_target.q_net.0.bias"),
        (in_a_reward, LOSS),
        (in_the_q_values, LOSS),
        (in_a_gradient, "the gradient of q_net.features_extractor.cnn.0"),
    ],
)
@pytest.mark.parametrize("max_grad_norm", [10, float("inf")])  # clipping spreads a NaN
def test_the_first_tensor_is_named(spoil: Spoil, named: str, max_grad_norm: float) -> None:
    model = learner(max_grad_norm=max_grad_norm)
    with pytest.raises(NonFiniteError) as error:
        model.learn(200, callback=once(spoil))
    assert named in str(error.value)
    spoilt = sum(not th.isfinite(weight).all() for weight in weights(model))
    assert spoilt == (1 if "parameter" in named else 0)


def test_values_and_gradients_whose_squares_are_infinite_are_no_alarm() -> None:
    model = learner()
    model.q_net.q_net[0].bias.data[:] = 1e30
    model.q_net.features_extractor.cnn[0].bias.register_hook(lambda grad: grad + 1e30)
    model.learn(60)
    assert all(th.isfinite(weight).all() for weight in weights(model))


def test_qrdqn_stops_too_and_no_agent_with_nan_is_saved(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="stopped at step 6"):
        learner(AtariQRDQN).learn(200, callback=once(in_a_reward))
    model = learner()
    in_q_net(model)
    with pytest.raises(NonFiniteError, match=r"cnn\.2\.weight"):
        save_agent(model, tmp_path / "agent.zip")
    assert list(tmp_path.iterdir()) == []


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


def test_a_dry_run_tells_the_cost(small_recipe: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_: Speed(0.01, 0.1, step_bytes=10**7))
    flags = ["--game", "Pong", "--recipe", small_recipe, "--steps", 400, "--eval-freq", 50]
    status, said, _ = main("scripts.train", *flags, "--logs", tmp_path, "--dry-run")
    assert status == 0
    assert "PongNoFrameskip-v4:\n" in said
    assert "games at once: 1; updates: 90, 1 after each 4 steps\n" in said  # after 40 of warm-up
    assert "memory: 4 GB for a replay of 400 steps\n" in said
    assert "evaluations: 8, full games in each: 10\n" in said
    assert "time: 0:00:36 by 10 steps/s with learning and 100 without" in said
    assert list(tmp_path.iterdir()) == []
