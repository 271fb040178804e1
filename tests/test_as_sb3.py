"""The documented calls of Stable-Baselines3: `AtariDQN` and `AtariQRDQN` take them as `DQN`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_wrapper,
)

from custom.env.games import make_games
from custom.learner.dqn import AtariDQN, AtariQRDQN
from custom.learner.engine import Engine
from custom.optimizers import DeepMindRMSprop
from custom.recipe.games import find_game
from tests.conftest import SMALL, typed
from tests.test_dqn import RMSPROP, equal, learner, weights

each = pytest.mark.parametrize("algorithm", [AtariDQN, AtariQRDQN])


def games(n_envs: int = 1, n_stack: int = 4) -> VecEnv:
    """As a user stacks them: `VecFrameStack` without `VecTransposeImage`."""
    values = typed(SMALL)
    env = make_games(find_game("Breakout"), values, n_envs, 0, wrappers=values.env_wrapper)
    single = unwrap_vec_wrapper(env, VecFrameStack).venv  # type: ignore[union-attr]
    return VecFrameStack(single, n_stack)


def model_of(algorithm: type[DQN], env: VecEnv | None = None, **options: Any) -> DQN:
    how = {"buffer_size": 300, "learning_starts": 20, "target_update_interval": 50, "train_freq": 4}
    return learner(algorithm, env=env or games(), **how | options)


@each
def test_it_learns_again_in_whatever_way_the_last_time_ended(algorithm: type[DQN]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    model = model_of(algorithm)
    model.learn(60)
    before = weights(model)
    assert model.learn(40).num_timesteps == 40
    assert model.learn(40, reset_num_timesteps=False).num_timesteps == 80
    assert any(not th.equal(p, q) for p, q in zip(before, weights(model), strict=True))
    model.learn(50, callback=lambda *_: model.num_timesteps < 30)
    model.learn(40, reset_num_timesteps=False)
    with pytest.raises(KeyboardInterrupt):
        model.learn(40, callback=interrupt, reset_num_timesteps=False)
    model.learn(40, reset_num_timesteps=False)
    evaluate_policy(model, model.get_env(), 1)  # in the games of the training
    model.set_env(games())
    steps = model.num_timesteps
    assert model.learn(40, reset_num_timesteps=False).num_timesteps == steps + 40


@each
def test_save_and_load(algorithm: type[DQN], tmp_path: Path) -> None:
    options = {"policy_kwargs": RMSPROP, "learning_rate": lambda left: 1e-3 * left}
    model, other = model_of(algorithm, **options).learn(60), model_of(algorithm, seed=9, **options)
    model.save(tmp_path / "agent")
    again = algorithm.load(tmp_path / "agent", env=games(), device="cpu")
    assert equal(model, again)
    for parameters in (model.get_parameters(), str(tmp_path / "agent")):
        other.set_parameters(parameters)
        assert equal(model, other)
    obs = model.env.reset()
    for deterministic in (True, False):
        for one in (model, again, other):
            one.exploration_rate = 0.0
        models = (model, again, other)
        first, *more = (m.predict(obs, deterministic=deterministic)[0] for m in models)
        assert all(np.array_equal(first, actions) for actions in more)
    optimizer = model.policy.optimizer
    for one in (again, other):
        assert type(one.policy.optimizer) is DeepMindRMSprop
        assert one.policy.optimizer.param_groups[0]["alpha"] == 0.9
        both = (o.state.values() for o in (optimizer, one.policy.optimizer))
        assert all(th.equal(a["square_avg"], b["square_avg"]) for a, b in zip(*both, strict=True))
        one.learn(40, reset_num_timesteps=False)
        assert not equal(model, one)


def test_loaded_options_are_the_agents_and_games_need_no_frame_stack(tmp_path: Path) -> None:
    options: dict[str, Any] = {"n_steps": 3, "engine": Engine(update="sb3"), "loss": "mse"}
    options |= {"munchausen_alpha": 0.9, "prioritized_replay": {"alpha": 0.5}}
    model_of(AtariDQN, **options).save(tmp_path / "agent")
    again = AtariDQN.load(tmp_path / "agent", env=games(), device="cpu")
    assert {name: getattr(again, name) for name in options} == options
    again.learn(40)
    single = games().venv  # type: ignore[attr-defined]
    assert isinstance(single, DummyVecEnv)
    assert model_of(AtariDQN, single).learn(60).frame_stack == 1


@each
def test_the_replay_is_saved_and_loaded(algorithm: type[DQN], tmp_path: Path) -> None:
    model = model_of(algorithm).learn(50)
    model.save_replay_buffer(tmp_path / "replay")
    model.load_replay_buffer(tmp_path / "replay")
    model.learn(30, reset_num_timesteps=False)
    fresh = model_of(algorithm)
    fresh.load_replay_buffer(tmp_path / "replay")
    assert fresh.replay_buffer.size() == 52  # whole rollouts of 4 steps
    fresh.learn(30)
    assert fresh.replay_buffer.size() == 84
    fresh.load_replay_buffer(tmp_path / "replay")
    fresh.learn(30, reset_num_timesteps=False)
    if isinstance(fresh, AtariDQN):
        assert fresh._update.replay is fresh.replay_buffer


@each
@pytest.mark.parametrize("deterministic", [True, False])
def test_predict_takes_observations_of_any_form(algorithm: type[DQN], deterministic: bool) -> None:
    env = games(n_envs=3)
    model = model_of(algorithm, env)
    model.exploration_rate = 0.5
    screens_last, screens_first = env.reset(), model.env.reset()
    assert screens_last.shape == (3, 36, 36, 4)
    assert screens_first.shape == (3, 4, 36, 36)
    for obs, shape in (
        (screens_last, (3,)),
        (screens_first, (3,)),
        (screens_last[:2], (2,)),
        (screens_first[:1], (1,)),
        (screens_last[0], ()),
        (screens_first[0], ()),
    ):
        action, state = model.predict(obs, deterministic=deterministic)
        assert np.shape(action) == shape
        assert state is None
        assert np.all((np.asarray(action) >= 0) & (np.asarray(action) < 4))


@each
def test_each_environment_explores_by_itself(algorithm: type[DQN]) -> None:
    model = model_of(algorithm, games(n_envs=8))
    model.exploration_rate = 0.1
    obs = model.env.reset()
    greedy, _ = model.predict(obs, deterministic=True)
    some = np.mean([(model.predict(obs)[0] != greedy).any() for _ in range(300)])
    assert 0.35 < some < 0.6  # 1 - (1 - 0.1 * 3 / 4)^8 = 0.46; a draw for all: 0.1


@pytest.mark.parametrize(("n_stack", "starts"), [(4, [37, 41]), (1, [90]), (6, [90])])
def test_transitions_are_sb3s_for_any_number_of_frames(n_stack: int, starts: list[int]) -> None:
    samples = []
    for buffer in ("frames", "sb3"):
        options = {"engine": Engine(buffer=buffer), "learning_starts": 10**6}
        model = model_of(AtariDQN, games(n_stack=n_stack), **options)
        for steps in starts:
            model.learn(steps)
        np.random.seed(1)
        samples.append(model.replay_buffer.sample(200))
    for name, theirs in samples[1]._asdict().items():
        ours = getattr(samples[0], name)
        assert theirs is None or th.equal(ours, theirs.to(ours.dtype))


def test_stacks_that_are_none_are_seen_at_once() -> None:
    class Shuffled(VecFrameStack):
        def step_wait(self) -> Any:
            obs, *rest = super().step_wait()
            return np.ascontiguousarray(obs[..., [1, 0, 2, 3]]), *rest

    model = model_of(AtariDQN, Shuffled(games().venv, 4))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="does not continue the stack before it"):
        model.learn(200)


@each
def test_normalized_rewards_are_refused(algorithm: type[DQN]) -> None:
    model = model_of(algorithm)
    model.set_env(VecNormalize(VecTransposeImage(games()), norm_obs=False))
    with pytest.raises(ValueError, match="VecNormalize is not for screens"):
        model.learn(10)
