"""The engine's settings: the same learning, however it is computed."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch as th
import yaml

from custom.env.workers import WorkerVecEnv
from custom.learner.engine import Engine
from custom.recipe.games import Game, find_game
from custom.recipe.recipe import Recipe, load_recipe
from custom.runs.agents import load_agent, save_agent
from custom.system.errors import UserError
from custom.training.prepare import Training, prepare
from custom.training.settings import Settings, fitted
from tests.conftest import SMALL, WHOLE, Patch, content, small, typed

INVADERS, PONG = find_game("SpaceInvaders"), find_game("Pong")
ZOO = WHOLE["env_wrapper"][0]


def prepared(folder: Path, engine: Engine, game: Game = INVADERS, **changed: Any) -> Training:
    settings = Settings(seed=3, logs=folder / "logs", eval_freq=10**9, engine=engine)
    return prepare(small(**changed), game, settings)


def test_more_processes_learn_the_same_to_the_bit(tmp_path: Path) -> None:
    models = []
    for workers in (1, 2, 3):
        made = prepared(tmp_path, Engine(n_envs=8, workers=workers), n_timesteps=640)
        model = made.model.learn(made.recipe.n_timesteps, list(made.callbacks))
        assert isinstance(model.env.unwrapped, WorkerVecEnv) is (workers > 1)
        model.env.close()
        models.append(model)
    learnt = [model.policy.state_dict() | content(model.replay_buffer) for model in models]
    for first, *others in ([one[key] for one in learnt] for key in learnt[0]):
        assert all(th.equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("entry", "n_envs", "expected"),
    [
        *(({}, 4, (1, 1)), ({}, 2, (2, 1)), ({}, 3, (4, 3)), ({}, 16, (1, 4))),  # usually 4 and 1
        ({"train_freq": 1, "gradient_steps": 2}, 8, (1, 16)),
        ({"train_freq": [8, "step"], "gradient_steps": 2}, 2, (2, 1)),
        ({"n_envs": 8}, 1, (32, 1)),
        ({"gradient_steps": -1}, 8, (4, -1)),
    ],
)
def test_as_many_updates_a_step_for_any_number_of_games(
    entry: Any, n_envs: int, expected: tuple
) -> None:
    values = Recipe("any", "dqn", Path("any.yml"), typed(entry)).with_envs(n_envs).hyperparams
    assert (values.train_freq, values.gradient_steps) == expected
    assert values.n_envs == n_envs


def test_updates_are_the_recipes_and_all_actions_reach_agent_and_evaluation(tmp_path: Path) -> None:
    made = prepared(tmp_path, Engine(n_envs=8))
    model = made.model.learn(made.recipe.n_timesteps, list(made.callbacks))
    assert model.n_envs == 8
    assert model._n_updates == pytest.approx((400 - 40) / 4, abs=3)
    made = prepared(tmp_path, Engine(), PONG, env_kwargs={"full_action_space": True})
    assert made.model.action_space.n == 18
    save_agent(made.model, made.run.final_model)
    assert load_agent(made.run, made.run.final_model).action_space.n == 18
    assert made.run.facts["eval_protocol"]["env_kwargs"] == {"full_action_space": True}


def test_what_an_engine_cannot_play_is_refused() -> None:
    with pytest.raises(UserError, match="not in episodes"):
        fitted(small(train_freq=[1, "episode"]), Engine(n_envs=2))
    for engine in (Engine(precision="bf16"), Engine(update="sb3")):
        with pytest.raises(UserError, match=r"hyperparams/qrdqn.yml: .*are not for qrdqn, of sb3-"):
            fitted(load_recipe("qrdqn", PONG), engine)


BUFFER_SB3 = ("optimize", "prioritized_replay")  # with these lines
REFUSED = {
    "prioritized_replay: {alpha: 0.6}": "prioritized_replay needs BUFFER=frames",
    "double_q: true, munchausen_alpha: 0.9": "munchausen_alpha has no argmax for double_q",
    "env_kwargs: {mode: 999}": "env_wrapper or env_kwargs: Invalid game mode requested",
    "policy_kwargs: {net_arch: [64], activation_fn: torch.nn.Transformer}": "cannot be trained: Tr",
    "policy_kwargs: {optimizer_class: torch.optim.SparseAdam}": "SparseAdam does not support dense",
    "policy_kwargs: {optimizer_kwargs: {differentiable: true}}": "does not support differentiable",
    "env_wrapper: [custom.wrappers.CropScreen: {top: 120, bottom: 120}, AtariWrapper]": "env_w",
    "optimize_memory_usage: true\n  replay_buffer_kwargs: {handle_timeout_termination: true}": "R",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_fails_later_fails_before_a_folder_is_claimed(line: str, tmp_path: Path) -> None:
    lines = yaml.safe_load("{" + line.replace("\n ", ",").replace("AtariWrapper]", f"{ZOO}]") + "}")
    engine = Engine(buffer="sb3" if line.startswith(BUFFER_SB3) else "frames")
    message = rf"small\.yml: PongNoFrameskip-v4: .*{REFUSED[line]}"
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, engine, PONG, **lines)
    assert not (tmp_path / "logs").exists()


MINE = """import gymnasium as gym
class StepPenalty(gym.RewardWrapper):
    def __init__(self, env, penalty: float = 0.1):
        super().__init__(env)
        self.penalty = penalty
    def reward(self, reward):
        return reward - self.penalty
"""


def test_a_wrapper_of_ones_own_is_checked_and_used(tmp_path: Path, monkeypatch: Patch) -> None:
    module = ModuleType("custom.mine")
    exec(MINE, module.__dict__)  # as a file custom/mine.py
    module.StepPenalty.__module__ = "custom.mine"
    monkeypatch.setitem(sys.modules, "custom.mine", module)
    wrapper = {"custom.mine.StepPenalty": {"penalty": 0.5}}
    env = prepared(tmp_path, Engine(), PONG, env_wrapper=[ZOO, wrapper]).model.env
    env.reset()
    assert env.step([0])[1][0] == -0.5
    wrapper["custom.mine.StepPenalty"] = {"penality": 0.5}
    file = tmp_path / "mine.yml"
    file.write_text(yaml.safe_dump({"atari": SMALL | {"env_wrapper": [ZOO, wrapper]}}))
    with pytest.raises(UserError, match="penality is not a known key; did you mean penalty"):
        load_recipe(str(file), PONG)
