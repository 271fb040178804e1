"""The engine's settings: the same learning, however it is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch as th
import yaml

from custom.build import build
from custom.dqn import AtariDQN
from custom.engine import Engine, at_the_same_ratio
from custom.errors import UserError
from custom.experiment import Experiment
from custom.recipe.games import find_game
from custom.recipe.recipe import Recipe, load_recipe
from custom.settings import Settings
from custom.workers import WorkerVecEnv
from tests.conftest import SMALL

INVADERS = find_game("SpaceInvaders")
ZOO = SMALL["env_wrapper"][0]


def recipe(folder: Path, **changed: Any) -> Recipe:
    file = folder / "small.yml"
    file.write_text(yaml.safe_dump({"atari": {**SMALL, **changed}}))
    return load_recipe(str(file), INVADERS)


def experiment(folder: Path, engine: Engine, **changed: Any) -> tuple[Experiment, AtariDQN]:
    settings = Settings(seed=3, logs=folder / "logs", eval_freq=10**9, engine=engine)
    made, model = build(recipe(folder, **changed), INVADERS, settings)
    assert isinstance(model, AtariDQN)
    return made, model


def test_more_processes_learn_the_same_to_the_bit(tmp_path: Path) -> None:
    models = []
    for workers in (1, 2, 3):
        made, model = experiment(tmp_path, Engine(n_envs=8, workers=workers), n_timesteps=1600)
        made.learn(model)
        assert isinstance(model.env.unwrapped, WorkerVecEnv) is (workers > 1)
        model.env.close()
        models.append(model)
    weights = [model.policy.state_dict() for model in models]
    replays = [model.replay_buffer.tensors() for model in models]
    for first, *others in ([w[key] for w in weights] for key in weights[0]):
        assert all(th.equal(first, other) for other in others)
    for first, *others in ([r[key] for r in replays] for key in replays[0]):
        assert all(th.equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("entry", "n_envs", "expected"),
    [
        ({"train_freq": 4}, 1, (4, 1)),
        ({"train_freq": 4}, 2, (2, 1)),
        ({"train_freq": 4}, 3, (4, 3)),
        ({"train_freq": 4}, 16, (1, 4)),
        ({"train_freq": 1, "gradient_steps": 2}, 8, (1, 16)),
        ({"train_freq": [8, "step"], "gradient_steps": 2}, 2, (2, 1)),
        ({"train_freq": 4, "n_envs": 8}, 1, (32, 1)),
        ({"train_freq": 4, "gradient_steps": -1}, 8, (4, -1)),
        ({}, 4, (1, 1)),  # SB3's defaults: 4 and 1
    ],
)
def test_any_number_of_environments_makes_as_many_updates_a_step(
    entry: dict[str, Any], n_envs: int, expected: tuple[int, int]
) -> None:
    found = at_the_same_ratio(entry, n_envs)
    assert found == {
        "n_envs": n_envs,
        "train_freq": expected[0],
        "gradient_steps": expected[1],
    }


def test_updates_are_counted_as_the_recipe_says(tmp_path: Path) -> None:
    made, model = experiment(tmp_path, Engine(n_envs=8))
    made.learn(model)
    assert model.n_envs == 8
    assert model._n_updates == pytest.approx((400 - 40) / 4, abs=3)


def test_episodes_have_no_ratio(tmp_path: Path) -> None:
    episodes = recipe(tmp_path, train_freq=[1, "episode"])
    with pytest.raises(UserError, match="not in episodes"):
        Engine(n_envs=2).resolve(episodes)


@pytest.mark.parametrize(
    ("name", "engine", "message"),
    [
        ("qrdqn", Engine(precision="bf16"), "are not for qrdqn, of sb3-contrib"),
        ("qrdqn", Engine(update="sb3"), "are not for qrdqn, of sb3-contrib"),
    ],
)
def test_what_an_engine_cannot_play_is_refused(name: str, engine: Engine, message: str) -> None:
    with pytest.raises(UserError, match=f"hyperparams/{name}.yml: .*{message}"):
        engine.resolve(load_recipe(name, find_game("Pong")))


def test_prioritized_replay_needs_the_replay_of_frames(tmp_path: Path) -> None:
    found = find_game("Pong")
    chosen = load_recipe("prioritized_dqn", found).with_budget(60)
    with pytest.raises(UserError, match="prioritized_replay needs BUFFER=frames"):
        build(chosen, found, Settings(0, tmp_path, engine=Engine(buffer="sb3")))
    assert not any(tmp_path.iterdir())


def test_options_that_exclude_each_other_leave_no_run_behind(tmp_path: Path) -> None:
    file = tmp_path / "both.yml"
    both = {**SMALL, "double_q": True, "munchausen_alpha": 0.9}
    file.write_text(yaml.safe_dump({"atari": both}))
    found = find_game("Pong")
    with pytest.raises(UserError, match=r"both\.yml: these values are refused: munchausen_alpha"):
        build(load_recipe(str(file), found), found, Settings(0, tmp_path / "logs"))
    assert not any((tmp_path / "logs").iterdir())


@pytest.mark.parametrize(
    "flags", [("--workers", "x"), ("--buffer", "x"), ("--envs", "0"), ("--precision", "fp8")]
)
def test_settings_that_there_are_not_are_refused(
    flags: tuple[str, str], refused: Callable[..., str]
) -> None:
    assert flags[0] in refused("scripts.train", "--game", "Pong", *flags)
