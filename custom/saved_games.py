"""Games in their middle, as plain values: emulators with their random numbers, and all wrappers.

What is kept holds nothing but numbers, texts, tensors, lists and dictionaries, so that it is read
without running code of the file's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

Plain = Any


def games_state(env: VecEnv) -> list[Plain] | None:
    """Where all games are; None where an environment does not tell, as the native one."""
    if not isinstance(env.unwrapped, DummyVecEnv):
        return None
    return [_state_of(part) for part in _parts(env)]


def restore_games(env: VecEnv, state: list[Plain]) -> None:
    """Put games, made as those were, where they were.

    :param state: what `games_state` gave
    :raises ValueError: they are wrapped in another way
    """
    parts = list(_parts(env))
    if [_name(part) for part in parts] != [saved["class"] for saved in state]:
        raise ValueError("the games are of other wrappers")
    for part, saved in zip(parts, state, strict=True):
        known = vars(part)
        known.update({k: v for k, v in to_numpy(saved["values"]).items() if k in known})
        if "emulator" in saved:
            emulator = ale_py.ALEState(saved["emulator"].numpy().tobytes())
            part.ale.restoreSystemState(emulator)  # type: ignore[attr-defined]
            random = part.np_random.bit_generator  # type: ignore[attr-defined]
            random.state = saved["random"]
        if isinstance(part, Monitor) and part.results_writer is not None:
            _shorten(Path(part.results_writer.file_handler.name), len(part.episode_returns))


def _shorten(file: Path, games: int) -> None:
    """Take later games out of a monitor's file, which is open for writing behind its end."""
    lines = file.read_bytes().splitlines(keepends=True)
    os.truncate(file, sum(map(len, lines[: games + 2])))  # two lines are before the first


def to_plain(value: Any) -> Plain:
    """A value with tensors instead of arrays.

    :raises TypeError: something in it is no plain value
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return th.from_numpy(np.array(value))
    if type(value) in (list, tuple):
        return type(value)(to_plain(item) for item in value)
    if isinstance(value, dict):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is no plain value")


def to_numpy(value: Plain) -> Any:
    """What `to_plain` was given."""
    if isinstance(value, th.Tensor):
        array = value.numpy()
        return array if array.ndim else array[()]
    if isinstance(value, list | tuple):
        return type(value)(to_numpy(item) for item in value)
    if isinstance(value, dict):
        return {key: to_numpy(item) for key, item in value.items()}
    return value


def _parts(env: VecEnv) -> Iterator[object]:
    """Whatever has a state: vectors of games from without to within, then the games'."""
    while isinstance(env, VecEnvWrapper):
        yield env
        if isinstance(env, VecFrameStack):
            yield env.stacked_obs
        env = env.venv
    assert isinstance(env, DummyVecEnv)
    yield env
    for game in env.envs:
        while isinstance(game, gym.Wrapper):
            yield game
            game = game.env
        yield game


def _name(part: object) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _state_of(part: object) -> dict[str, Plain]:
    values = {}
    for name, value in vars(part).items():
        try:
            values[name] = to_plain(value)
        except TypeError:  # spaces, functions, other parts: these are made anew
            continue
    state = {"class": _name(part), "values": values}
    if hasattr(part, "ale"):
        emulator = part.ale.cloneSystemState().serialize()
        state["emulator"] = th.frombuffer(bytearray(emulator), dtype=th.uint8)
        state["random"] = part.np_random.bit_generator.state  # type: ignore[attr-defined]
    return state
