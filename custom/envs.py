"""A vector of games as a recipe plays them, by Gymnasium's wrappers or by the native emulator."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from rl_zoo3.utils import get_wrapper_class
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecTransposeImage

from custom.games import Game, register_games
from custom.native_env import AtariVectorEnv
from custom.recipe_classes import PAPERS_WRAPPER, wrapper_item
from custom.stacks import repeat_first_frame
from custom.wrappers import NOOP_MAX


def evaluation_wrapper(hyperparams: dict[str, Any]) -> list[Any]:
    """A recipe's wrappers as an evaluation uses them.

    The start is 1-30 no-ops. A lost life is no end in `DeepMindAtariWrapper`, as in the paper;
    `AtariWrapper` keeps it, because it presses FIRE after a life only then, and an agent that was
    trained with that never learnt to.
    """
    items = wrappers_of(hyperparams)
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
    items = wrappers_of(hyperparams)
    if len(items) != 1:
        raise ValueError("the native engine takes one AtariWrapper and no other; use ENGINE=sb3")
    return items[0]


def wrappers_of(hyperparams: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
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
    if hyperparams.get("frame_stack_padding") == "first":
        repeat_first_frame(stacked)
    return VecTransposeImage(stacked)
