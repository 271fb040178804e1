"""DeepMind's wrapper and the games of an evaluation, on the real emulator."""

import gymnasium as gym
import numpy as np
from stable_baselines3.common.atari_wrappers import AtariWrapper

from custom.env.games import evaluation_wrapper, frame_skip, make_games
from custom.recipe.games import find_game
from custom.wrappers import DeepMindAtariWrapper
from tests.conftest import typed

BREAKOUT = find_game("Breakout")
INVADERS = find_game("SpaceInvaders")
ZOO = "stable_baselines3.common.atari_wrappers.AtariWrapper"
OURS = "custom.wrappers.DeepMindAtariWrapper"


def bare(name: str) -> gym.Env:
    game = find_game(name)
    return gym.make(game.env_id, **game.env_kwargs)


def until_end(env: gym.Env, seed: int = 0) -> tuple[np.ndarray, dict]:
    rng = np.random.default_rng(seed)
    while True:
        obs, _, terminated, truncated, info = env.step(int(rng.integers(env.action_space.n)))
        if terminated or truncated:
            return obs, info


def test_a_life_ends_the_episode_and_a_new_game_starts_after_the_last() -> None:
    env = DeepMindAtariWrapper(bare("SpaceInvaders"))
    env.reset(seed=0)
    last, _ = until_end(env)
    frame = env.unwrapped.ale.getEpisodeFrameNumber()
    first, info = env.reset()
    assert info["lives"] == 2
    assert env.unwrapped.ale.getEpisodeFrameNumber() == frame  # no no-op, no FIRE
    assert np.array_equal(last, first)
    env = DeepMindAtariWrapper(bare("SpaceInvaders"))
    env.reset(seed=0)
    for _ in range(3):
        until_end(env)
        _, info = env.reset()
    assert info["lives"] == 3
    assert 1 <= env.unwrapped.ale.getEpisodeFrameNumber() <= 30


def test_no_fire_is_pressed_for_the_agent() -> None:
    for wrapper, moved in ((DeepMindAtariWrapper, False), (AtariWrapper, True)):
        env = wrapper(bare("Breakout"))
        env.reset(seed=0)
        frames = [env.step(0)[0] for _ in range(8)]
        assert (not np.array_equal(frames[0], frames[-1])) is moved  # the ball flies after FIRE


def test_both_wrappers_show_the_same_frames() -> None:
    ours = DeepMindAtariWrapper(bare("Enduro"), terminal_on_life_loss=False)
    zoos = AtariWrapper(bare("Enduro"), terminal_on_life_loss=False)
    for env in (ours, zoos):
        env.reset(seed=3)
    ours.step(1), ours.step(2)  # what FireResetEnv plays in Enduro
    for action in np.random.default_rng(0).integers(9, size=200):
        assert np.array_equal(ours.step(int(action))[0], zoos.step(int(action))[0])


def test_an_evaluation_plays_full_games_from_1_to_30_no_ops() -> None:
    recipe = typed({"env_wrapper": [{ZOO: {"noop_max": 0, "frame_skip": 3}}]})
    assert evaluation_wrapper(recipe) == [{ZOO: {"noop_max": 30, "frame_skip": 3}}]
    assert frame_skip(recipe) == 3
    wrapper = evaluation_wrapper(typed({"env_wrapper": OURS}))
    assert wrapper == [{OURS: {"noop_max": 30, "terminal_on_life_loss": False}}]


def test_the_same_seed_gives_the_same_game() -> None:
    recipe = typed({"env_wrapper": ZOO})
    seen = []
    for seed in (5, 5, 6):
        env = make_games(INVADERS, recipe, 1, seed)
        env.reset()
        seen.append([env.step([i % 6])[0] for i in range(60)])
        env.close()
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])
