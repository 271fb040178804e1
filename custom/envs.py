"""Environments for playing: DeepMind's wrapper, and a vector of games as a recipe plays them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from rl_zoo3.utils import get_wrapper_class
from stable_baselines3.common.atari_wrappers import (
    ClipRewardEnv,
    MaxAndSkipEnv,
    NoopResetEnv,
    WarpFrame,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecTransposeImage

from custom.games import Game, register_games
from custom.native_env import AtariVectorEnv
from custom.recipe_schema import wrapper_item

NOOP_MAX = 30
PAPERS_WRAPPER = "custom.envs.DeepMindAtariWrapper"


class LifeLossTerminalEnv(gym.Wrapper[np.ndarray, int, np.ndarray, int]):
    """The loss of a life ends the episode for the learner, and the game just goes on.

    SB3's `EpisodicLifeEnv` plays a no-op after each life instead. As after every end of an episode,
    `VecFrameStack` blanks the frames before it, as DeepMind's replay does with those before an end.
    """

    def __init__(self, env: gym.Env[np.ndarray, int]) -> None:
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


class DeepMindAtariWrapper(gym.Wrapper[np.ndarray, int, np.ndarray, int]):
    """Preprocessing of Mnih et al. 2015: as SB3's `AtariWrapper`, but no FIRE is pressed for the
    agent, neither at the start nor after a life, and a lost life does not interrupt the game.

    :param noop_max: a game starts after 1 to so many no-ops
    :param frame_skip: frames per step; each step shows the maximum of its last two frames
    :param screen_size: width and height in pixels, grey
    :param terminal_on_life_loss: end the episode, not the game, with each life
    :param clip_reward: the sign of the reward
    """

    def __init__(
        self,
        env: gym.Env[np.ndarray, int],
        noop_max: int = NOOP_MAX,
        frame_skip: int = 4,
        screen_size: int = 84,
        terminal_on_life_loss: bool = True,
        clip_reward: bool = True,
    ) -> None:
        if noop_max > 0:
            env = NoopResetEnv(env, noop_max=noop_max)
        if frame_skip > 1:
            env = MaxAndSkipEnv(env, skip=frame_skip)
        if terminal_on_life_loss:
            env = LifeLossTerminalEnv(env)
        env = WarpFrame(env, width=screen_size, height=screen_size)
        if clip_reward:
            env = ClipRewardEnv(env)
        super().__init__(env)


def evaluation_wrapper(hyperparams: dict[str, Any]) -> list[Any]:
    """A recipe's wrappers as an evaluation uses them.

    The start is 1-30 no-ops. A lost life is no end in `DeepMindAtariWrapper`, as in the paper;
    `AtariWrapper` keeps it, because it presses FIRE after a life only then, and an agent that was
    trained with that never learnt to.
    """
    items = _wrappers(hyperparams)
    for path, arguments in items:
        if path.endswith("AtariWrapper"):
            arguments["noop_max"] = NOOP_MAX
        if path == PAPERS_WRAPPER:
            arguments["terminal_on_life_loss"] = False
    return [{path: arguments} for path, arguments in items]


def frame_skip(hyperparams: dict[str, Any]) -> int:
    """Frames per step of a recipe."""
    items = [entry for item in evaluation_wrapper(hyperparams) for entry in item.items()]
    [arguments] = [arguments for path, arguments in items if path.endswith("AtariWrapper")]
    return int(arguments.get("frame_skip", 4))


def wrapper_of(hyperparams: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Path and arguments of a recipe's only wrapper.

    :raises ValueError: there are more
    """
    items = _wrappers(hyperparams)
    if len(items) != 1:
        raise ValueError("the native engine takes one AtariWrapper and no other; use ENGINE=sb3")
    return items[0]


def _wrappers(hyperparams: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Path and arguments of each of a recipe's wrappers, innermost first; a copy."""
    wrappers = copy.deepcopy(hyperparams.get("env_wrapper") or [])
    listed = wrappers if isinstance(wrappers, list) else [wrappers]
    return [wrapper_item("env_wrapper", item) for item in listed]


def native_games(
    game: Game, hyperparams: dict[str, Any], n_envs: int, seed: int, pixels: str
) -> AtariVectorEnv:
    """As `make_games`, as an agent of a recipe is trained, by the native environment.

    :param pixels: ``exact`` or ``grey``
    """
    _, arguments = wrapper_of(hyperparams)
    stack = int(hyperparams.get("frame_stack", 1))
    return AtariVectorEnv(game, n_envs, seed, frame_stack=stack, pixels=pixels, **arguments)


def make_games(
    game: Game,
    hyperparams: dict[str, Any],
    n_envs: int,
    seed: int,
    render_mode: str | None = None,
    tap: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] = lambda env: env,
) -> VecEnv:
    """Several games in parallel, as an agent of a recipe is evaluated.

    :param seed: game ``i`` has the seed ``seed + i``
    :param render_mode: ``human`` for a window
    :param tap: put around the bare environment, below all wrappers of the recipe
    :return: observations (n_envs, frame_stack, height, width), rewards clipped as in training; the
        raw score of a full game is in ``info["episode"]["r"]``
    """
    register_games()
    wrap = get_wrapper_class({"env_wrapper": evaluation_wrapper(hyperparams)})
    assert wrap is not None
    env = make_vec_env(
        game.env_id,
        n_envs=n_envs,
        seed=seed,
        env_kwargs={**game.env_kwargs, "render_mode": render_mode},
        wrapper_class=lambda bare: wrap(tap(bare)),
    )
    stacked = VecFrameStack(env, int(hyperparams.get("frame_stack", 1)))
    return VecTransposeImage(stacked)
