"""Wrappers of single games; each recipe names one whose name ends in AtariWrapper."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import (
    ClipRewardEnv,
    MaxAndSkipEnv,
    NoopResetEnv,
    WarpFrame,
)

NOOP_MAX = 30
Screens = gym.Env[np.ndarray, int]


class LifeLossTerminalEnv(gym.Wrapper[np.ndarray, int, np.ndarray, int]):
    """The loss of a life ends the episode for the learner, and the game continues.

    SB3's `EpisodicLifeEnv` plays a no-op after each life instead. As after every end of an episode,
    `VecFrameStack` blanks the frames before it, as DeepMind's replay does with those before an end.
    """

    def __init__(self, env: Screens) -> None:
        super().__init__(env)
        self._lives = 0
        self._game_over = True
        self._last: tuple[np.ndarray, dict[str, Any]]

    def step(self, action: int) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """As the game's, with `terminated` where a life was lost."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._game_over = terminated or truncated
        lives = int(info["lives"])
        terminated = terminated or lives < self._lives
        self._lives = lives
        self._last = obs, info
        return obs, reward, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """A new game where the last is over or a seed is given, else the frame that was reached."""
        if self._game_over or kwargs.get("seed") is not None:
            obs, info = self.env.reset(**kwargs)
            self._lives = int(info["lives"])
            self._game_over = False
            self._last = obs, info
        return self._last


class ActionSet(gym.ActionWrapper[np.ndarray, int, int]):
    """Some of the game's actions only.

    :param actions: their names, in the order of their numbers
    :raises ValueError: the game has no such action
    """

    def __init__(self, env: Screens, actions: list[str]) -> None:
        super().__init__(env)
        names: list[str] = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
        self._names, self._numbers = actions, [names.index(name) for name in actions]
        self.action_space = spaces.Discrete(len(actions))  # type: ignore[assignment]

    def action(self, action: int) -> int:
        """The game's number of an action."""
        return self._numbers[int(action)]

    def get_action_meanings(self) -> list[str]:
        """As the emulator's."""
        return self._names


class CropScreen(gym.ObservationWrapper[np.ndarray, int, np.ndarray]):
    """The screen without some of its edges; it goes before an AtariWrapper.

    :param top: rows to leave out, as `bottom`; of columns `left` and `right`
    """

    def __init__(
        self, env: Screens, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0
    ) -> None:
        super().__init__(env)
        height, width, *colours = env.observation_space.shape or ()
        self._rows, self._columns = slice(top, height - bottom), slice(left, width - right)
        shape = (height - top - bottom, width - left - right, *colours)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """(height, width, colours) to the part of it."""
        part: np.ndarray = observation[self._rows, self._columns]
        return part


def played(env: Screens, noop_max: int, frame_skip: int = 4) -> Screens:
    """No-ops at the start, the maximum of the last two of the skipped frames."""
    if noop_max > 0:
        env = NoopResetEnv(env, noop_max=noop_max)
    return MaxAndSkipEnv(env, skip=frame_skip) if frame_skip > 1 else env


class DeepMindAtariWrapper(gym.Wrapper[np.ndarray, int, np.ndarray, int]):
    """Preprocessing of Mnih et al. 2015: as SB3's `AtariWrapper`, but no FIRE is pressed for the
    agent, neither at the start nor after a life, and a lost life does not interrupt the game.

    :param noop_max: a game starts after 1 to so many no-ops
    :param frame_skip: frames per step; each step shows the maximum of its last two frames
    :param screen_size: width and height in pixels, grey
    :param terminal_on_life_loss: end the episode, not the game, with each life
    :param clip_reward: the sign of the reward
    :param actions: names of those that the agent has, in its order; default: all of the game's
    """

    def __init__(
        self,
        env: Screens,
        noop_max: int = NOOP_MAX,
        frame_skip: int = 4,
        screen_size: int = 84,
        terminal_on_life_loss: bool = True,
        clip_reward: bool = True,
        actions: list[str] | None = None,
    ) -> None:
        env = played(env, noop_max, frame_skip)
        if terminal_on_life_loss:
            env = LifeLossTerminalEnv(env)
        env = WarpFrame(env, width=screen_size, height=screen_size)
        if clip_reward:
            env = ClipRewardEnv(env)
        super().__init__(ActionSet(env, actions) if actions else env)


class FullFrameAtariWrapper(gym.Wrapper[np.ndarray, int, np.ndarray, int]):
    """The screen as it is, 210 x 160 in colours; for `dueling_dqn-fullframe`.

    :param noop_max: a game starts after 1 to so many no-ops
    """

    def __init__(self, env: Screens, noop_max: int = NOOP_MAX) -> None:
        super().__init__(played(env, noop_max))


class HalfSizeAtariWrapper(FullFrameAtariWrapper):
    """Every second row and column, 105 x 80, and the mean of the colours; for `dqn-keras`.

    The last frame of a game is blank, as its source pushes one so that the final reward is kept.

    :param noop_max: a game starts after 1 to so many no-ops
    """

    def __init__(self, env: Screens, noop_max: int = NOOP_MAX) -> None:
        super().__init__(env, noop_max)
        height, width, _ = env.observation_space.shape or ()
        shape = ((height + 1) // 2, (width + 1) // 2, 1)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)

    def step(self, action: int) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """As the game's, small and grey; blank where it is over."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        small = half_size(obs)
        return np.zeros_like(small) if terminated else small, reward, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """As the game's, small and grey."""
        obs, info = self.env.reset(**kwargs)
        return half_size(obs), info


def half_size(screen: np.ndarray) -> np.ndarray:
    """(height, width, 3) to (height / 2, width / 2, 1), uint8, rounded down."""
    small: np.ndarray = screen[::2, ::2].mean(axis=2, keepdims=True).astype(np.uint8)
    return small
