"""A vector of games as a recipe plays them: SB3's wrappers, in one process or in several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
import torch as th
from ale_py.env import AtariEnv  # noqa: F401  # OUR_ENTRY
from rl_zoo3.utils import get_wrapper_class
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecTransposeImage

from custom.recipe.games import FULL_ACTION_ROMS, V4_SUFFIX, Game, all_games
from custom.recipe.model import PAPERS_WRAPPER, Hyperparams, wrapper_items
from custom.stacks import RepeatFirstFrame
from custom.workers import WorkerVecEnv
from custom.wrappers import NOOP_MAX

MAX_FRAMES = 108_000  # of a game: 30 minutes of play at 60 frames a second
OUR_ENTRY = "custom.envs:AtariEnv"
FEWEST_GAMES = 4  # from which on several processes pay: docs/performance.md


def evaluation_wrapper(hyperparams: Hyperparams) -> list[Any]:
    """A recipe's wrappers as an evaluation uses them.

    The start is 1-30 no-ops. A lost life is no end in `DeepMindAtariWrapper`, as in the paper;
    `AtariWrapper` keeps it, because it presses FIRE after a life only then, and an agent that was
    trained with that never learnt to.
    """
    items = wrapper_items(hyperparams.env_wrapper)
    for path, arguments in items:
        if path.endswith("AtariWrapper"):
            arguments["noop_max"] = NOOP_MAX
        if path == PAPERS_WRAPPER:
            arguments["terminal_on_life_loss"] = False
    return [{path: arguments} for path, arguments in items]


def frame_skip(hyperparams: Hyperparams) -> int:
    """Frames per step of a recipe."""
    items = [entry for item in evaluation_wrapper(hyperparams) for entry in item.items()]
    [arguments] = [arguments for path, arguments in items if path.endswith("AtariWrapper")]
    return int(arguments.get("frame_skip", 4))


def processes_for(n_envs: int) -> int:
    """Processes that play so many games: as many as PyTorch has threads, where that pays."""
    return min(th.get_num_threads(), n_envs) if n_envs >= FEWEST_GAMES else 1


def processes_of(env: VecEnv | None) -> int:
    """Processes that play some games."""
    base = env.unwrapped if env is not None else None
    return len(base.shares) if isinstance(base, WorkerVecEnv) else 1


def training_games(
    game: Game, hyperparams: Hyperparams, n_envs: int, seed: int, workers: int, **monitor: Any
) -> VecEnv:
    """Games as an agent of a recipe is trained, by the recipe's own wrappers.

    :param seed: game ``i`` has the seed ``seed + i``
    :param workers: processes that play, this one included; 0: `processes_for` them
    :param monitor: ``monitor_dir`` and ``monitor_kwargs`` of SB3's `make_vec_env`
    :return: as `make_games`
    """
    items = wrapper_items(hyperparams.env_wrapper)
    wrappers = [{path: arguments} for path, arguments in items]
    return _vector(game, hyperparams, wrappers, n_envs, seed, workers, **monitor)


def make_games(
    game: Game,
    hyperparams: Hyperparams,
    n_envs: int,
    seed: int,
    render_mode: str | None = None,
    tap: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] = lambda env: env,
    workers: int = 1,
) -> VecEnv:
    """Several games in parallel, as an agent of a recipe is evaluated.

    :param seed: game ``i`` has the seed ``seed + i``
    :param render_mode: ``human`` for a window
    :param tap: put around the bare environment, below all wrappers of the recipe
    :param workers: processes that play, this one included; 0: `processes_for` them
    :return: observations (n_envs, frame_stack, height, width), rewards clipped as in training; the
        raw score of a full game is in ``info["episode"]["r"]``
    """
    wrappers = evaluation_wrapper(hyperparams)
    return _vector(game, hyperparams, wrappers, n_envs, seed, workers, render_mode, tap)


def _vector(
    game: Game,
    hyperparams: Hyperparams,
    wrappers: list[Any],
    n_envs: int,
    seed: int,
    workers: int,
    render_mode: str | None = None,
    tap: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] = lambda env: env,
    monitor_dir: Path | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
) -> VecEnv:
    wrap = get_wrapper_class({"env_wrapper": wrappers})
    assert wrap is not None
    processes = min(workers, n_envs) or processes_for(n_envs)
    env = make_vec_env(
        _bare_game,
        n_envs=n_envs,
        seed=seed,
        monitor_dir=str(monitor_dir) if monitor_dir else None,
        wrapper_class=lambda bare: wrap(tap(bare)),
        env_kwargs={"game": game, "own": hyperparams.env_kwargs.given, "render_mode": render_mode},
        vec_env_cls=DummyVecEnv if processes == 1 else WorkerVecEnv,  # type: ignore[arg-type]
        vec_env_kwargs={} if processes == 1 else {"workers": processes, "name": game.env_id},
        monitor_kwargs=monitor_kwargs,
    )
    first = hyperparams.frame_stack_padding == "first"
    stack = RepeatFirstFrame if first else VecFrameStack
    return VecTransposeImage(stack(env, hyperparams.frame_stack))


def _bare_game(game: Game, own: dict[str, Any], render_mode: str | None) -> gym.Env[Any, Any]:
    register_games()  # a process of workers has not
    return gym.make(game.env_id, **(game.env_kwargs | own), render_mode=render_mode)


def register_games() -> None:
    """Register ``…NoFrameskip-v4`` for the games that ale_py registers as ``ALE/…-v5`` only."""
    gym.register_envs(ale_py)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # no banner
    for name, rom in all_games().items():
        if f"{name}{V4_SUFFIX}" not in gym.registry:
            kwargs = {
                "game": rom,
                "repeat_action_probability": 0.0,
                "full_action_space": rom in FULL_ACTION_ROMS,
                "frameskip": 1,
                "max_num_frames_per_episode": MAX_FRAMES,
            }
            gym.register(f"{name}{V4_SUFFIX}", OUR_ENTRY, kwargs=kwargs)


def is_registered_elsewhere(env_id: str) -> bool:
    """Whether ale_py knows the id without this project."""
    register_games()
    return gym.spec(env_id).entry_point != OUR_ENTRY
