"""The state of games in progress as plain values: emulators with random numbers, and all wrappers.

Plain values are numbers, texts, tensors, lists and dictionaries, so a file of them is read without
running code. The state does not depend on the number of processes.
"""

from collections.abc import Iterator
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, unwrap_vec_wrapper

from custom.env.workers import WorkerVecEnv

Plain = Any  # numbers, texts, tensors, and lists, tuples and dictionaries of them


def games_state(env: VecEnv) -> Plain:
    """The state of all games and of their frame stacks."""
    base = env.unwrapped
    shares = base.call(_states) if isinstance(base, WorkerVecEnv) else [_states(base)]
    games = [game for share in shares for game in share]
    return to_plain({"stacks": _stacks(env).stacked_obs, "games": games})


def restore_games(env: VecEnv, state: Plain) -> None:
    """Set the state of games that were made like the saved ones.

    :param state: from `games_state`
    :raises ValueError: the games have other wrappers, or their number is another
    """
    base, arrays = env.unwrapped, to_numpy(state)
    games, stacks = arrays["games"], _stacks(env)
    if len(games) != env.num_envs or arrays["stacks"].shape != stacks.stacked_obs.shape:
        raise ValueError("the number of games or the size of their frames differs")
    stacks.stacked_obs = arrays["stacks"]
    if isinstance(base, WorkerVecEnv):
        base.call(_restore, [[games[i] for i in share] for share in base.shares])
    else:
        _restore(base, games)


def _stacks(env: VecEnv) -> Any:
    stack = unwrap_vec_wrapper(env, VecFrameStack)
    assert stack is not None
    return stack.stacked_obs


def _states(env: Any) -> list[list[dict[str, Any]]]:
    """For each game of a `DummyVecEnv`, the state of its layers, outermost first."""
    return [[_state_of(layer) for layer in _layers(game)] for game in env.envs]


def _restore(env: Any, games: list[list[dict[str, Any]]]) -> None:
    for game, saved in zip(env.envs, games, strict=True):
        layers = list(_layers(game))
        if [_name(layer) for layer in layers] != [state["class"] for state in saved]:
            raise ValueError("the games have other wrappers")
        for layer, state in zip(layers, saved, strict=True):
            _restore_layer(layer, state)


def _layers(game: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    """The wrappers of a game, outermost first, then the bare environment."""
    while isinstance(game, gym.Wrapper):
        yield game
        game = game.env
    yield game


def _name(layer: object) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def _state_of(layer: gym.Env[Any, Any]) -> dict[str, Any]:
    # Other attributes (spaces, functions, inner layers) are made anew with the game.
    values = {name: value for name, value in vars(layer).items() if _is_plain(value)}
    state: dict[str, Any] = {"class": _name(layer), "values": values}
    if hasattr(layer, "ale"):
        emulator = layer.ale.cloneSystemState().serialize()
        state["emulator"] = np.frombuffer(emulator, dtype=np.uint8).copy()
        state["random"] = layer.np_random.bit_generator.state
    return state


def _restore_layer(layer: gym.Env[Any, Any], state: dict[str, Any]) -> None:
    vars(layer).update(state["values"])  # some are set in reset() only
    if "emulator" in state:
        emulator = ale_py.ALEState(state["emulator"].tobytes())
        layer.ale.restoreSystemState(emulator)  # type: ignore[attr-defined]
        layer.np_random.bit_generator.state = state["random"]


def _is_plain(value: Any) -> bool:
    try:
        to_plain(value)
    except TypeError:
        return False
    return True


def to_plain(value: Any) -> Plain:
    """The same value with tensors instead of NumPy arrays.

    :raises TypeError: it contains something that is not plain
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
    """The inverse of `to_plain`."""
    if isinstance(value, th.Tensor):
        array = value.numpy()
        return array if array.ndim else array[()]
    if isinstance(value, list | tuple):
        return type(value)(to_numpy(item) for item in value)
    if isinstance(value, dict):
        return {key: to_numpy(item) for key, item in value.items()}
    return value
