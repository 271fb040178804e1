"""The native environment beside SB3's wrappers, on the real emulator."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from stable_baselines3 import DQN
from stable_baselines3.common.atari_wrappers import AtariWrapper
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import load_results
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecTransposeImage,
    VecVideoRecorder,
)

from custom.games import find_game
from custom.native_env import AtariVectorEnv, emulator_seed
from custom.wrappers import DeepMindAtariWrapper

GAMES = [  # Pacman's screen is 250 pixels high, and its menu takes 16 frames
    *("BeamRider", "Breakout", "Enduro", "Freeway", "MontezumaRevenge", "MsPacman"),
    *("Pacman", "Pong", "Qbert", "RoadRunner", "Seaquest", "SpaceInvaders"),
]
STEPS = 2_500  # of two games each


def native(name: str, n_envs: int = 1, seed: int = 0, **settings: Any) -> AtariVectorEnv:
    return AtariVectorEnv(find_game(name), n_envs, seed, **{"noop_max": 0, **settings})


def sb3(name: str, n_envs: int = 1, seed: int = 0, limit: int = 0, **settings: Any) -> VecEnv:
    """SB3's stack; `limit` frames if it is not 0."""
    game, stack = find_game(name), settings.pop("frame_stack", 4)
    wrapper = settings.pop("wrapper", DeepMindAtariWrapper)
    env = make_vec_env(
        game.env_id,
        n_envs=n_envs,
        seed=seed,
        env_kwargs={**game.env_kwargs, **({"max_num_frames_per_episode": limit} if limit else {})},
        wrapper_class=lambda bare: wrapper(bare, **{"noop_max": 0, **settings}),
    )
    return VecTransposeImage(VecFrameStack(env, stack))


def random_actions(env: VecEnv, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(env.action_space.n, size=(steps, env.num_envs))


def check_info(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """All that the learner is told about a step; "t" is a time."""
    told = {"lives", "TimeLimit.truncated", "terminal_observation", "episode"}
    assert ours.keys() == theirs.keys() & told
    assert ours["lives"] == theirs["lives"]
    assert ours["TimeLimit.truncated"] is theirs["TimeLimit.truncated"]
    game_over = "episode" in theirs and not theirs["TimeLimit.truncated"]
    if "episode" in theirs:
        assert {**ours["episode"], "t": 0} == {**theirs["episode"], "t": 0}
    if "terminal_observation" in theirs:  # the library takes no picture of a game's last frame
        old, new = ours["terminal_observation"], theirs["terminal_observation"]
        assert np.array_equal(old[:-1] if game_over else old, new[:-1] if game_over else new)


def check_equal(ours: AtariVectorEnv, theirs: VecEnv, steps: int) -> list[dict[str, Any]]:
    """Play both at random; every step must be the same.

    :return: the infos of all steps
    """
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert np.array_equal(ours.reset(), theirs.reset())
    seen = []
    for actions in random_actions(ours, steps):
        ours.step_async(actions)  # both at the same time
        sb3_obs, sb3_rewards, sb3_dones, sb3_infos = theirs.step(actions)
        obs, rewards, dones, infos = ours.step_wait()
        assert np.array_equal(obs, sb3_obs)
        assert np.array_equal(rewards, sb3_rewards)
        assert rewards.dtype == sb3_rewards.dtype
        assert np.array_equal(dones, sb3_dones)
        for info, sb3_info in zip(infos, sb3_infos, strict=True):
            check_info(info, sb3_info)
        seen += infos
    ours.close(), theirs.close()
    return seen


def until(env: VecEnv, key: str, seed: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
    """Random steps, up to one whose infos have a key."""
    infos: list[dict[str, Any]] = [{}]
    for actions in random_actions(env, 2_000, seed):
        obs, rewards, dones, infos = env.step(actions)
        yield obs, rewards, dones, infos
        if any(key in info for info in infos):
            return


@pytest.mark.parametrize("name", GAMES)
def test_every_step_is_the_same_as_with_sb3s_wrappers(name: str) -> None:
    check_equal(native(name, 2), sb3(name, 2), STEPS)


@pytest.mark.parametrize(
    "settings",
    [
        {"frame_skip": 1, "frame_stack": 1},
        {"frame_skip": 3, "screen_size": 42},
        {"terminal_on_life_loss": False, "clip_reward": False},
    ],
)
def test_it_is_the_same_with_other_settings(settings: dict[str, Any]) -> None:
    check_equal(native("Breakout", **settings), sb3("Breakout", **settings), 500)


def test_actions_stick_as_in_gymnasium() -> None:
    seed = 4
    assert emulator_seed(seed) == np.random.SeedSequence(seed).generate_state(2)[1]  # no sign
    check_equal(native("ALE/Breakout-v5", 1, seed), sb3("ALE/Breakout-v5", 1, seed), 500)


@pytest.mark.parametrize("name", ["Enduro", "Seaquest"])
def test_the_frames_are_those_of_sb3s_own_wrapper(name: str) -> None:
    ours = native(name, terminal_on_life_loss=False)
    theirs = sb3(name, wrapper=AtariWrapper, terminal_on_life_loss=False)
    ours.reset(), theirs.reset()
    ours.step([1]), ours.step([2])  # what FireResetEnv plays
    for actions in random_actions(ours, 150):
        assert np.array_equal(ours.step(actions)[0][:, -1], theirs.step(actions)[0][:, -1])


def test_a_time_limit_is_the_same_as_in_gymnasium() -> None:
    infos = check_equal(native("Pong", 2, max_frames=400), sb3("Pong", 2, limit=400), 250)
    episodes = [info["episode"] for info in infos if info["TimeLimit.truncated"]]
    assert [episode["l"] for episode in episodes] == [400] * 4


def test_a_life_that_is_lost_as_time_is_up_is_no_truncation() -> None:
    env = native("Breakout")
    env.reset()
    lost = len(list(until(env, "terminal_observation")))
    ours, theirs = native("Breakout", max_frames=4 * lost), sb3("Breakout", limit=4 * lost)
    [*_, last] = check_equal(ours, theirs, lost)
    assert "episode" in last
    assert not last["TimeLimit.truncated"]


def test_no_ops_are_0_to_29_and_count_towards_length_and_limit() -> None:
    env = native("Pong", 8, noop_max=30, max_frames=1)  # so each step is a game
    env.reset()
    no_ops = [info["episode"]["l"] - 4 for _ in range(30) for info in env.step([0] * 8)[3]]
    assert (min(no_ops), max(no_ops)) == (0, 29)
    env = native("Pong", 8, noop_max=30, max_frames=80)
    env.reset()
    infos = [info for actions in random_actions(env, 60) for info in env.step(actions)[3]]
    lengths = {info["episode"]["l"] for info in infos if "episode" in info}
    assert lengths == {80, 81, 82, 83}  # looked at every 4 frames


def test_the_librarys_grey_is_close_and_the_game_is_the_same() -> None:
    exact, grey = native("Pong", 2), native("Pong", 2, pixels="grey")
    difference = np.abs(exact.reset() - grey.reset().astype(int)).mean()
    for actions in random_actions(exact, 200):
        ours, *rest = exact.step(actions)
        theirs, *others = grey.step(actions)
        difference = max(difference, np.abs(ours - theirs.astype(int)).mean())
        assert str(rest) == str(others)
    assert difference < 2  # of 255


def test_the_same_seed_gives_the_same_game_and_game_i_has_the_seed_plus_i() -> None:
    seen = []
    for n_envs, seed in ((3, 5), (3, 5), (1, 7)):
        env = native("ALE/SpaceInvaders-v5", n_envs, seed, noop_max=30)
        first = env.reset()
        seen.append([first, *(env.step([i % 6] * n_envs)[0] for i in range(60))])
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(np.stack(seen[0])[:, 2:], seen[2])
    assert not np.array_equal(np.stack(seen[0])[:, 0], np.stack(seen[0])[:, 1])


def test_a_seed_waits_for_the_next_reset_and_is_used_once() -> None:
    env, other = native("ALE/Pong-v5", 1, 1), native("ALE/Pong-v5", 1, 2)

    def played(env: VecEnv) -> np.ndarray:
        env.reset()
        return np.stack([env.step([2])[0] for _ in range(30)])

    first = played(env)
    assert env.seed(2) == [2]
    assert np.array_equal(played(env), played(other))
    assert not np.array_equal(played(env), first)


def test_a_step_changes_no_observation_that_was_returned() -> None:
    env = native("SpaceInvaders", 2)
    kept = [env.reset()]
    copies = [kept[0].copy()]
    for obs, *_ in until(env, "episode"):
        kept.append(obs)
        copies.append(obs.copy())
    assert np.array_equal(kept, copies)


def test_only_the_game_that_lost_a_life_is_blanked() -> None:
    env = native("SpaceInvaders", 4, noop_max=30)
    before = env.reset()
    for obs, _, dones, _ in until(env, "terminal_observation"):
        last, before, ended = before, obs, dones
    [lost] = np.flatnonzero(ended)
    others = np.arange(4) != lost
    assert not obs[lost, :-1].any()
    assert obs[lost, -1].any()
    assert np.array_equal(obs[others, :-1], last[others, 1:])


@pytest.mark.parametrize(
    ("actions", "found"),
    [
        ([0, 0, 0], r"int64 \(3,\)"),
        ([[0], [0]], r"int64 \(2, 1\)"),
        ([0.0, 1.0], r"float64 \(2,\)"),
        ([True, False], r"bool \(2,\)"),
        ([0, 6], r"\[0, 6\]; each must be 0 to 5"),
        ([-1, 0], r"\[-1, 0\]; each must be 0 to 5"),
    ],
)
def test_actions_that_are_none_are_refused_and_the_game_goes_on(actions: Any, found: str) -> None:
    env, other = native("Pong", 2), native("Pong", 2)
    env.reset(), other.reset()
    with pytest.raises(ValueError, match=f"actions are {found}"):
        env.step(np.array(actions))
    assert np.array_equal(env.step([2, 3])[0], other.step([2, 3])[0])


@pytest.mark.parametrize(
    ("setting", "value"),
    [("pixels", "rgb"), ("render_mode", "human"), ("n_envs", 0), ("noop_max", -1)],
)
def test_a_setting_out_of_range_is_refused(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{setting}={value!r}"):
        AtariVectorEnv(find_game("Pong"), **{"n_envs": 1, setting: value})


def test_a_step_has_one_beginning_and_one_end() -> None:
    env = native("Pong")
    with pytest.raises(RuntimeError, match="reset"):
        env.step_async([0])
    env.reset()
    with pytest.raises(RuntimeError, match="step_async"):
        env.step_wait()
    env.step_async([0])
    with pytest.raises(RuntimeError, match="step_wait"):
        env.step_async([0])
    env.step_wait()


def test_reset_gives_up_a_step_under_way() -> None:
    env, other = native("Pong"), native("Pong")
    env.reset()
    env.step_async([2])
    assert np.array_equal(env.reset(), other.reset())
    assert np.array_equal(env.step([3])[0], other.step([3])[0])


def test_it_can_be_closed_twice_and_in_the_middle_of_a_step() -> None:
    env = native("Pong")
    env.reset()
    env.step_async([0])
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.step([0])


class RandomPolicy:
    """Always the same random actions."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def predict(self, observation: np.ndarray, **_: Any) -> tuple[np.ndarray, None]:
        return self.rng.integers(4, size=len(observation)), None


def test_sb3_evaluates_full_games_with_their_raw_scores() -> None:
    results = []
    for env in (native("Breakout", 2), sb3("Breakout", 2)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # that there is no Monitor
            policy: Any = RandomPolicy()
            results.append(evaluate_policy(policy, env, 3, return_episode_rewards=True))
    assert results[0] == results[1]


@pytest.mark.filterwarnings("ignore:The environment is already wrapped")
def test_sb3s_monitor_writes_its_episodes(tmp_path: Path) -> None:
    env = VecMonitor(native("Breakout"), str(tmp_path / "games"))
    env.reset()
    steps = len(list(until(env, "terminal_observation")))
    env.close()
    assert load_results(str(tmp_path)).l.tolist() == [steps]


@pytest.mark.parametrize("pixels", ["exact", "grey"])
def test_sb3s_recorder_films_it(pixels: str, tmp_path: Path) -> None:
    env = native("Pong", 2, pixels=pixels, render_mode="rgb_array")
    recorder = VecVideoRecorder(env, str(tmp_path), lambda step: step == 0, video_length=20)
    recorder.reset()
    for actions in random_actions(env, 30):
        recorder.step(actions)
    recorder.close()
    [film] = tmp_path.iterdir()
    assert cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FRAME_COUNT) == 21
    assert env.metadata["render_fps"] == 15  # 60 / 4: as fast as the game is played


def test_what_is_shown_is_what_the_agent_sees() -> None:
    env = native("Pacman", 2, render_mode="rgb_array")
    env.reset()
    for actions in random_actions(env, 20):
        obs, *_ = env.step(actions)
    for image, newest in zip(env.get_images(), obs[:, -1], strict=True):
        assert image.shape == (250, 160, 3)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        assert np.array_equal(cv2.resize(grey, (84, 84), interpolation=cv2.INTER_AREA), newest)


def test_attributes_are_those_of_all_games() -> None:
    env = native("Pong", 2)
    assert env.get_attr("clip_reward") == [True, True]
    env.set_attr("clip_reward", False)
    assert env.get_attr("clip_reward", 0) == [False]
    assert not env.has_attr("no_such_thing")
    assert env.env_method("has_attr", "max_frames") == [True, True]


def test_sb3_learns_on_it() -> None:
    env = native("Pong", 2)
    small = {"features_extractor_kwargs": {"features_dim": 8}}
    model = DQN("CnnPolicy", env, buffer_size=64, learning_starts=16, policy_kwargs=small)
    model.learn(48)
    assert model.num_timesteps == 48
    assert model.get_env() is env  # no wrapper was needed
