"""Names of games, on ale_py's own ROMs."""

import gymnasium as gym
import pytest
from stable_baselines3.common.atari_wrappers import AtariWrapper

from custom.env.games import register_games
from custom.recipe.games import all_games, find_game
from custom.system.errors import UserError

V4 = "SpaceInvadersNoFrameskip-v4"


@pytest.mark.parametrize("text", ["SpaceInvaders", "space_invaders", "Space Invaders", V4])
def test_every_spelling_is_the_deterministic_game(text: str) -> None:
    assert find_game(text).env_id == V4


def test_v5_has_sticky_actions_and_says_so() -> None:
    game = find_game("ALE/SpaceInvaders-v5")
    env = gym.make(game.env_id, **game.env_kwargs)
    assert env.unwrapped.ale.getFloat("repeat_action_probability") == 0.25
    assert "sticky actions (0.25)" in game.explain()


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


@pytest.mark.parametrize("text", ["ale_py:ALE/Pong-v5", "ALE-Pong-v5"])
def test_the_spellings_of_gymnasium_and_of_run_folders_are_understood(text: str) -> None:
    assert find_game(text).env_id == "ALE/Pong-v5"


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
