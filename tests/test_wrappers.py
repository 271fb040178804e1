"""Wrappers of the source systems, on real games."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from custom.env.games import make_games, register_games
from custom.evaluation.baselines import action_names
from custom.recipe.games import find_game
from custom.recipe.model import ZOO_WRAPPER
from custom.recipe.recipe import load_recipe
from custom.replay.buffer import FrameReplayBuffer
from custom.wrappers import ActionSet, CropScreen, FullFrameAtariWrapper, HalfSizeAtariWrapper
from tests.conftest import typed

FOUR = ["NOOP", "FIRE", "RIGHT", "LEFT"]


def game(env_id: str = "SpaceInvadersNoFrameskip-v4") -> gym.Env[Any, Any]:
    register_games()
    return gym.make(env_id)


def of_recipe(recipe: str, name: str) -> VecEnv:
    found = find_game(name)
    return make_games(found, load_recipe(recipe, found).hyperparams, 2, seed=0)


def test_the_first_system_has_four_actions_which_are_the_games() -> None:
    invaders = find_game("SpaceInvaders")
    values = load_recipe("dqn-rmsprop", invaders).hyperparams
    assert action_names(invaders, values) == FOUR
    others = action_names(invaders, load_recipe("dqn", invaders).hyperparams)[4:]
    assert others == ["RIGHTFIRE", "LEFTFIRE"]
    env = make_games(invaders, values, 2, 0)
    assert env.action_space.n == 4
    env.reset()
    for action in range(4):
        env.step(np.full(2, action))
    env.close()
    bare, wrapped = game(), ActionSet(game(), ["LEFT", "NOOP"])
    left = bare.unwrapped.get_action_meanings().index("LEFT")
    bare.reset(seed=3)
    wrapped.reset(seed=3)
    for _ in range(80):
        assert np.array_equal(bare.step(left)[0], wrapped.step(0)[0])


def test_half_the_screen_has_mean_colours_and_the_full_screen_all() -> None:
    small, whole = HalfSizeAtariWrapper(game(), noop_max=0), game()
    assert small.observation_space.shape == (105, 80, 1)
    obs, _ = small.reset(seed=1)
    screen, _ = whole.reset(seed=1)
    assert obs.dtype == np.uint8
    assert obs[20, 30, 0] == int(screen[40, 60].astype(int).sum() / 3)
    assert np.array_equal(obs[..., 0], screen[::2, ::2].astype(int).sum(axis=2) // 3)
    assert FullFrameAtariWrapper(game()).observation_space.shape == (210, 160, 3)
    env = of_recipe("dueling_dqn-fullframe", "SpaceInvaders")
    obs = env.reset()
    assert obs.shape == (2, 9, 210, 160)
    assert not obs[:, :6].any()
    assert obs[:, 6:].any()
    env.close()


def test_a_stack_begins_with_its_first_frame_four_times() -> None:
    env = of_recipe("dqn-keras", "Pong")
    obs = env.reset()
    assert obs.shape == (2, 4, 105, 80)
    assert all(np.array_equal(obs[:, 0], obs[:, k]) for k in range(4))
    finished = 0
    while finished < 2:
        before = obs
        obs, _, dones, infos = env.step(np.zeros(2, dtype=int))
        for i in range(2):
            if dones[i]:
                finished += 1
                assert all(np.array_equal(obs[i, 0], obs[i, k]) for k in range(4))
                last = infos[i]["terminal_observation"]
                assert np.array_equal(last[:3], before[i, 1:])
                assert not last[3].any()
            else:
                assert np.array_equal(obs[i, :3], before[i, 1:])
    env.close()


def test_the_replay_gives_back_stacks_that_begin_with_their_first_frame() -> None:
    env = of_recipe("dqn-keras", "Pong")
    spaces = env.observation_space, env.action_space
    buffer = FrameReplayBuffer(1800, *spaces, device="cpu", n_envs=2, repeat_first=True)
    obs, kept = env.reset(), []
    for _ in range(1200):  # a game in which nobody moves takes about 800 steps
        following, rewards, dones, infos = env.step(np.zeros(2, dtype=int))
        last = following.copy()
        for i in np.flatnonzero(dones):
            last[i] = infos[i]["terminal_observation"]
        buffer.add(obs, last, np.zeros(2), rewards, dones, infos)
        kept.append((obs.copy(), last, dones.copy()))
        obs = following
    assert sum(done.sum() for *_, done in kept) >= 2
    for position in range(900):
        step = position if position >= 300 else position + 900
        batch = buffer.gather(th.tensor([position, position]), th.tensor([0, 1]))
        assert np.array_equal(batch.observations.numpy(), kept[step][0])
        assert np.array_equal(batch.next_observations.numpy(), kept[step][1])
    env.close()


def test_the_screen_is_cropped_before_it_is_shrunk() -> None:
    env = CropScreen(game(), top=8, bottom=12, left=4, right=12)
    obs, _ = env.reset(seed=0)
    whole, _ = game().reset(seed=0)
    assert np.array_equal(obs, whole[8:198, 4:148])
    assert env.observation_space.shape == (190, 144, 3)
    shrunk = [{"custom.wrappers.CropScreen": {"top": 8}}, ZOO_WRAPPER]
    games = make_games(find_game("SpaceInvaders"), typed({"env_wrapper": shrunk}), 1, seed=0)
    assert games.reset().shape == (1, 4, 84, 84)
    games.close()
