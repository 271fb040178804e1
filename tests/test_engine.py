"""The engine's settings: the same learning, however it is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch as th
import yaml

from custom.buffers import FrameReplayBuffer
from custom.build import build
from custom.dqn import AtariDQN
from custom.engine import Engine, at_the_same_ratio
from custom.envs import PAPERS_WRAPPER
from custom.errors import UserError
from custom.experiment import Experiment
from custom.games import find_game
from custom.native_env import AtariVectorEnv
from custom.recipes import Recipe, load_recipe
from custom.settings import Settings
from tests.conftest import SMALL, run

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


def test_both_engines_learn_the_same_to_the_bit(tmp_path: Path) -> None:
    """The number of no-ops fixed (none), lives as in the paper; games end within these steps."""
    same = {
        "env_wrapper": [{PAPERS_WRAPPER: {"noop_max": 0}}],
        "n_timesteps": 2000,
        "buffer_size": 1500,
        "learning_starts": 100,
    }
    models = []
    for env in ("sb3", "native"):
        made, model = experiment(tmp_path, Engine(env=env), **same)
        made.learn(model)
        assert model.num_timesteps == 2000
        assert isinstance(model.env, AtariVectorEnv) is (env == "native")
        models.append(model)
    first, second = (model.replay_buffer for model in models)
    assert isinstance(first, FrameReplayBuffer)
    assert first.dones.sum() >= 6  # two games
    for name in ("frames", "older", "end_of"):
        assert th.equal(getattr(first.ring, name), getattr(second.ring, name)), name
    assert th.equal(first.facts, second.facts)
    weights = [model.policy.state_dict() for model in models]
    assert all(th.equal(weights[0][key], weights[1][key]) for key in weights[0])


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


@pytest.mark.parametrize("env", ["sb3", "native"])
def test_updates_are_counted_as_the_recipe_says(env: str, tmp_path: Path) -> None:
    made, model = experiment(tmp_path, Engine(env=env, n_envs=8))
    made.learn(model)
    assert model.n_envs == 8
    assert model._n_updates == pytest.approx((400 - 40) / 4, abs=3)


def test_episodes_have_no_ratio(tmp_path: Path) -> None:
    episodes = recipe(tmp_path, train_freq=[1, "episode"])
    with pytest.raises(UserError, match="not in episodes"):
        Engine(n_envs=2).resolve(episodes)


def test_the_native_engine_says_that_it_presses_no_fire(tmp_path: Path) -> None:
    wrapper = [{ZOO: {"noop_max": 7, "clip_reward": False}}]
    before = recipe(tmp_path, env_wrapper=wrapper)
    after = Engine(env="native").resolve(before)
    arguments = {"noop_max": 7, "clip_reward": False}
    assert after.hyperparams["env_wrapper"] == [{PAPERS_WRAPPER: arguments}]
    assert "presses no FIRE" in after.notes[-1]
    assert before.hyperparams["env_wrapper"] == wrapper
    assert Engine().resolve(before) == before


def test_wrappers_of_ones_own_need_the_other_engine(tmp_path: Path) -> None:
    two = recipe(tmp_path, env_wrapper=["custom.wrappers.LifeLossTerminalEnv", ZOO])
    with pytest.raises(UserError, match="use ENGINE=sb3"):
        Engine(env="native").resolve(two)


@pytest.mark.parametrize(
    ("name", "engine", "message"),
    [
        ("dqn-keras", Engine(env="native"), "frame_stack_padding: first needs ENGINE=sb3"),
        ("dueling_dqn-fullframe", Engine(env="native"), "FullFrameAtariWrapper needs ENGINE=sb3"),
        ("qrdqn", Engine(env="native", overlap=True), "are not for qrdqn, of sb3-contrib"),
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


def test_a_native_run_is_evaluated_and_filmed_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "small.yml"
    file.write_text(yaml.safe_dump({"atari": SMALL}))
    flags = ("--game", "Breakout", "--recipe", file, "--logs", tmp_path / "logs")
    speed = ("--engine", "native", "--envs", 2, "--pixels", "grey", "--overlap", "--threads", 1)
    length = ("--steps", 1200, "--eval-freq", 10**6, "--episodes", 2)
    output = run("scripts.train", *flags, *speed, *length, "--seed", 1)
    folder = Path(output.splitlines()[-1].removeprefix("Run: "))
    assert "updates per step" in output
    assert "presses no FIRE" in output
    assert {"evaluation.json", "replay.mp4", "learning_curve.png"} <= {
        path.name for path in folder.iterdir()
    }
    assert '"env": "native"' in (folder / "run.json").read_text()
    assert PAPERS_WRAPPER in (folder / "recipe.yml").read_text()
    games = (folder / "training_games.csv").read_text().splitlines()
    assert len(games) > 2  # as info["episode"] tells them


def test_overlap_without_the_native_engine_is_refused(refused: Callable[..., str]) -> None:
    assert "ENGINE=native" in refused("scripts.train", "--game", "Pong", "--overlap")


@pytest.mark.parametrize(
    "flags", [("--engine", "x"), ("--buffer", "x"), ("--envs", "0"), ("--precision", "fp8")]
)
def test_settings_that_there_are_not_are_refused(
    flags: tuple[str, str], refused: Callable[..., str]
) -> None:
    assert flags[0] in refused("scripts.train", "--game", "Pong", *flags)
