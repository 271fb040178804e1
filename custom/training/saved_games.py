"""Games in progress as plain values: emulators with their random numbers, and all wrappers.

Nothing but numbers, texts, tensors, lists and dictionaries, so that a file of them is read without
running code. It does not depend on how many processes play.
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
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from custom.env.workers import WorkerVecEnv

Plain = Any


def games_state(env: VecEnv) -> Plain:
    """The state of all games and of their frame stacks."""
    base = env.unwrapped
    shares = base.call(_states) if isinstance(base, WorkerVecEnv) else [_states(base)]
    games = [game for share in shares for game in share]
    return to_plain({"stacks": _stacks(env).stacked_obs, "games": games})


def restore_games(env: VecEnv, state: Plain) -> None:
    """Put games, made as those were, where they were.

    :param state: what `games_state` gave
    :raises ValueError: they are wrapped in another way, or there are more or fewer
    """
    base, found = env.unwrapped, to_numpy(state)
    games, stacks = found["games"], _stacks(env)
    if len(games) != env.num_envs or found["stacks"].shape != stacks.stacked_obs.shape:
        raise ValueError("the number of games, or the size of their frames, is another")
    stacks.stacked_obs = found["stacks"]
    if isinstance(base, WorkerVecEnv):
        base.call(_restore, [[games[i] for i in share] for share in base.shares])
    else:
        _restore(base, games)


def _stacks(env: VecEnv) -> Any:
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecFrameStack):
            return env.stacked_obs
        env = env.venv
    raise ValueError("the games have no VecFrameStack")


def _states(env: Any) -> list[list[dict[str, Any]]]:
    """Of each game of a `DummyVecEnv` and its wrappers, from without to within."""
    return [[_state_of(layer) for layer in _layers(game)] for game in env.envs]


def _restore(env: Any, games: list[list[dict[str, Any]]]) -> None:
    for game, saved in zip(env.envs, games, strict=True):
        layers = list(_layers(game))
        if [_name(layer) for layer in layers] != [state["class"] for state in saved]:
            raise ValueError("the games are of other wrappers")
        for layer, state in zip(layers, saved, strict=True):
            _restore_layer(layer, state)


def _layers(game: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    while isinstance(game, gym.Wrapper):
        yield game
        game = game.env
    yield game


def _name(layer: object) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def _state_of(layer: gym.Env[Any, Any]) -> dict[str, Any]:
    # What is not plain (spaces, functions, other layers) is made anew.
    values = {name: value for name, value in vars(layer).items() if _is_plain(value)}
    state: dict[str, Any] = {"class": _name(layer), "values": values}
    if hasattr(layer, "ale"):
        emulator = layer.ale.cloneSystemState().serialize()
        state["emulator"] = np.frombuffer(emulator, dtype=np.uint8).copy()
        state["random"] = layer.np_random.bit_generator.state
    return state


def _restore_layer(layer: gym.Env[Any, Any], state: dict[str, Any]) -> None:
    known = vars(layer)
    known.update({name: value for name, value in state["values"].items() if name in known})
    if "emulator" in state:
        emulator = ale_py.ALEState(state["emulator"].tobytes())
        layer.ale.restoreSystemState(emulator)  # type: ignore[attr-defined]
        layer.np_random.bit_generator.state = state["random"]
    if isinstance(layer, Monitor) and layer.results_writer is not None:
        _shorten(Path(layer.results_writer.file_handler.name), len(layer.episode_returns))


def _shorten(file: Path, games: int) -> None:
    """Take later games out of a monitor's file, which is open for writing behind its end."""
    lines = file.read_bytes().splitlines(keepends=True)
    os.truncate(file, sum(map(len, lines[: games + 2])))  # two lines are before the first


def _is_plain(value: Any) -> bool:
    try:
        to_plain(value)
    except TypeError:
        return False
    return True


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
