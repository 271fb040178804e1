"""Vectorized games with a recipe's wrappers, in one process or in several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import torch as th
from ale_py.env import AtariEnv  # noqa: F401  # OUR_ENTRY
from rl_zoo3.utils import get_wrapper_class
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecTransposeImage

from custom.env.workers import WorkerVecEnv
from custom.recipe.games import FULL_ACTION_ROMS, V4_SUFFIX, Game, all_games
from custom.recipe.model import PAPERS_WRAPPER, EnvWrapper, Hyperparams, wrapper_items
from custom.wrappers import NOOP_MAX

MAX_FRAMES = 108_000  # of a game: 30 minutes at 60 frames per second
OUR_ENTRY = "custom.env.games:AtariEnv"
FEWEST_GAMES = 4  # with fewer, one process is faster: docs/performance.md


class RepeatFirstFrame(VecFrameStack):
    """`VecFrameStack` in which the first frame of an episode fills the whole stack."""

    def reset(self) -> Any:
        """The first observations: (n_envs, height, width, n_stack * channels)."""
        super().reset()
        return self._fill(np.ones(self.num_envs, dtype=bool))

    def step_wait(self) -> Any:
        """As `VecFrameStack`'s, with the first frame repeated where an episode began."""
        _, rewards, dones, infos = super().step_wait()
        return self._fill(dones), rewards, dones, infos

    def _fill(self, starts: Any) -> Any:
        """Fill stacks with their newest frame where `starts`, (n_envs,), is true."""
        stacks = self.stacked_obs.stacked_obs
        channels = stacks.shape[-1] // self.stacked_obs.n_stack
        stacks[starts] = np.tile(stacks[starts][..., -channels:], self.stacked_obs.n_stack)
        return stacks


def evaluation_wrapper(hyperparams: Hyperparams) -> list[dict[str, dict[str, Any]]]:
    """A recipe's wrappers as an evaluation uses them.

    A game starts with 1 to 30 no-ops. With `DeepMindAtariWrapper` the loss of a life does not end
    the episode, as in the paper. With `AtariWrapper` it does, as in training: that wrapper presses
    FIRE at the start of an episode only, and its agents have not learnt to press FIRE.
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
    items = wrapper_items(hyperparams.env_wrapper)
    [arguments] = [arguments for path, arguments in items if path.endswith("AtariWrapper")]
    return int(arguments.get("frame_skip", 4))


def make_games(
    game: Game,
    hyperparams: Hyperparams,
    n_envs: int,
    seed: int,
    *,
    workers: int = 1,
    wrappers: EnvWrapper | None = None,
    render_mode: str | None = None,
    tap: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] = lambda env: env,
    monitor_dir: Path | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
) -> VecEnv:
    """Vectorized games, by default those of an evaluation.

    :param seed: game ``i`` has the seed ``seed + i``
    :param workers: processes that step the games, including this one; 0: one per PyTorch thread,
        or 1 for few games
    :param wrappers: of each game; None: `evaluation_wrapper`
    :param render_mode: ``human`` for a window
    :param tap: wraps the bare environment, below all other wrappers
    :param monitor_dir: folder of SB3's monitor files; None: no files
    :param monitor_kwargs: arguments of SB3's `Monitor`
    :return: observations are (n_envs, frame_stack * channels, height, width), uint8; rewards are
        clipped as the wrappers do; where a game ends, ``info["episode"]["r"]`` is its raw score
    """
    wrap = get_wrapper_class({"env_wrapper": wrappers or evaluation_wrapper(hyperparams)})
    assert wrap is not None
    kwargs = game.env_kwargs | hyperparams.env_kwargs.given

    def bare_game() -> gym.Env[Any, Any]:
        register_games()  # a worker process has not done so
        return gym.make(game.env_id, **kwargs, render_mode=render_mode)

    automatic = th.get_num_threads() if n_envs >= FEWEST_GAMES else 1
    processes = min(workers or automatic, n_envs)
    env = make_vec_env(
        bare_game,
        n_envs=n_envs,
        seed=seed,
        monitor_dir=str(monitor_dir) if monitor_dir else None,
        wrapper_class=lambda bare: wrap(tap(bare)),
        vec_env_cls=DummyVecEnv if processes == 1 else WorkerVecEnv,  # type: ignore[arg-type]
        vec_env_kwargs={} if processes == 1 else {"workers": processes, "name": game.env_id},
        monitor_kwargs=monitor_kwargs,
    )
    first = hyperparams.frame_stack_padding == "first"
    stack = RepeatFirstFrame if first else VecFrameStack
    return VecTransposeImage(stack(env, hyperparams.frame_stack))


def register_games() -> None:
    """Register ``…NoFrameskip-v4`` for games that ale_py registers only as ``ALE/…-v5``."""
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
