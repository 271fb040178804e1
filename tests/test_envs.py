"""Names of games, DeepMind's wrapper and the games of an evaluation, on the real emulator."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.atari_wrappers import AtariWrapper

from custom.env.games import evaluation_wrapper, frame_skip, register_games
from custom.recipe.games import all_games, find_game
from custom.system.errors import UserError
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


def test_both_wrappers_show_the_same_frames_but_for_fire() -> None:
    ours = DeepMindAtariWrapper(bare("Enduro"), terminal_on_life_loss=False)
    zoos = AtariWrapper(bare("Enduro"), terminal_on_life_loss=False)
    for env in (ours, zoos):
        env.reset(seed=3)
    ours.step(1), ours.step(2)  # what FireResetEnv plays in Enduro
    for action in np.random.default_rng(0).integers(9, size=200):
        assert np.array_equal(ours.step(int(action))[0], zoos.step(int(action))[0])
    for wrapper, moved in ((DeepMindAtariWrapper, False), (AtariWrapper, True)):
        env = wrapper(bare("Breakout"))
        env.reset(seed=0)
        frames = [env.step(0)[0] for _ in range(8)]
        assert (not np.array_equal(frames[0], frames[-1])) is moved  # the ball flies after FIRE


V4 = "SpaceInvadersNoFrameskip-v4"


@pytest.mark.parametrize(
    ("text", "env_id"),
    [
        *((text, V4) for text in ("SpaceInvaders", "space_invaders", "Space Invaders", V4)),
        *((text, "ALE/Pong-v5") for text in ("ale_py:ALE/Pong-v5", "ALE-Pong-v5")),
    ],
)
def test_a_game_may_be_spelt_in_many_ways(text: str, env_id: str) -> None:
    assert find_game(text).env_id == env_id


def test_v5_has_sticky_actions_and_an_evaluation_full_games_from_1_to_30_no_ops() -> None:
    game = find_game("ALE/SpaceInvaders-v5")
    env = gym.make(game.env_id, **game.env_kwargs)
    assert env.unwrapped.ale.getFloat("repeat_action_probability") == 0.25
    assert "sticky actions (0.25)" in game.explain()
    recipe = typed({"env_wrapper": [{ZOO: {"noop_max": 0, "frame_skip": 3}}]})
    assert evaluation_wrapper(recipe) == [{ZOO: {"noop_max": 30, "frame_skip": 3}}]
    assert frame_skip(recipe) == 3
    wrapper = evaluation_wrapper(typed({"env_wrapper": OURS}))
    assert wrapper == [{OURS: {"noop_max": 30, "terminal_on_life_loss": False}}]


@pytest.mark.parametrize("text", ["SpaceInvaders", "ALE/SpaceInvaders-v5"])
def test_a_step_of_the_wrapped_game_is_four_frames(text: str) -> None:
    game = find_game(text)
    env = AtariWrapper(gym.make(game.env_id, **game.env_kwargs))
    _, _ = env.reset(seed=0)
    before = env.unwrapped.ale.getEpisodeFrameNumber()
    env.step(0)
    assert env.unwrapped.ale.getEpisodeFrameNumber() == before + 4


@pytest.mark.parametrize(
    "text", [f"SpaceInvaders{x}" for x in ("-v4", "Deterministic-v4", "NoFrameskip-v0", "-ram-v4")]
)
def test_versions_that_skip_or_stick_by_themselves_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"did you mean SpaceInvaders.*\? write NAME, NAMENoFr"):
        find_game(text)


@pytest.mark.long
def test_every_game_plays_in_the_zoos_wrapper() -> None:
    games = all_games()
    register_games()
    assert len(games) == 104
    for name in games:
        env = AtariWrapper(gym.make(find_game(name).env_id))
        assert env.reset()[0].shape == (84, 84, 1)
        env.step(env.action_space.n - 1)
        env.close()


@pytest.mark.parametrize("name", ["Backgammon", "VideoCheckers"])
def test_games_whose_smallest_action_set_lacks_noop_play_with_all_actions(name: str) -> None:
    game = find_game(f"ALE/{name}-v5")
    env = AtariWrapper(gym.make(game.env_id, **game.env_kwargs))
    assert env.action_space.n == 18
    env.reset()
