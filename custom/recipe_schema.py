"""What a recipe may say: every key, its type and range, and the classes that it may name.

The keys are those of the zoo's YAML files and of the algorithm's constructor. Values are plain
data; a class is its dotted path, taken from an allow-list of packages and of base classes.
"""

from __future__ import annotations

import importlib
import inspect
import math
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from custom.recipe_values import Check, RecipeError, flag, known_key, mapping, number, whole

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"dqn": DQN}
PACKAGES = ("custom", "gymnasium", "sb3_contrib", "stable_baselines3", "torch")


def learning_rate(key: str, value: Any) -> Any:
    """A rate, or the zoo's ``lin_RATE``: falling to zero over the run."""
    if isinstance(value, str) and value.startswith("lin_"):
        try:
            number(0, 1, above=True)(key, float(value[4:]))
        except ValueError as error:
            raise RecipeError(f"{key} is {value!r}; write e.g. lin_1e-4") from error
        return value
    return number(0, 1, above=True)(key, value)


def train_freq(key: str, value: Any) -> Any:
    """Steps between updates, or ``[n, step]`` or ``[n, episode]``."""
    if isinstance(value, list):
        if len(value) != 2 or value[1] not in ("step", "episode"):
            raise RecipeError(f"{key} is {value}; write a number or [number, step or episode]")
        return [whole(1)(key, value[0]), value[1]]
    return whole(1)(key, value)


def policy(key: str, value: Any) -> str:
    """SB3's alias of the image policy, or the dotted path of a policy class."""
    if value == "CnnPolicy":
        return "CnnPolicy"
    if isinstance(value, str) and "." in value:
        class_named(key, value, BasePolicy)
        return value
    raise RecipeError(f"{key} is {value!r}; write CnnPolicy or the dotted path of a policy class")


def policy_kwargs(key: str, value: Any) -> dict[str, Any]:
    """Arguments of the policy class, with classes as dotted paths."""
    known = [*_parameters(DQN.policy_aliases["CnnPolicy"])]
    settings = mapping(key, value)
    for name, setting in settings.items():
        known_key(f"{key}.{name}", name, known)
        if name in POLICY_CLASSES and setting is not None:
            class_named(f"{key}.{name}", setting, POLICY_CLASSES[name])
    for owner in ("optimizer", "features_extractor"):
        arguments = mapping(f"{key}.{owner}_kwargs", settings.get(f"{owner}_kwargs") or {})
        path = settings.get(f"{owner}_class")
        default: type = th.optim.Adam if owner == "optimizer" else BaseFeaturesExtractor
        if path or owner == "optimizer":
            cls = class_named(f"{key}.{owner}_class", path, object) if path else default
            _arguments(f"{key}.{owner}_kwargs", arguments, cls)
    return settings


def env_wrapper(key: str, value: Any) -> Any:
    """A wrapper's dotted path, ``{path: arguments}``, or a list of these, innermost first."""
    for item in value if isinstance(value, list) else [value]:
        path, arguments = wrapper_item(key, item)
        wrapper = class_named(key, path, gym.Wrapper)
        _arguments(f"{key}.{wrapper.__name__}", arguments, wrapper)
    return value


def wrapper_item(key: str, item: Any) -> tuple[str, dict[str, Any]]:
    """Path and arguments of one entry of ``env_wrapper``."""
    if isinstance(item, str):
        return item, {}
    if isinstance(item, dict) and len(item) == 1:
        path, arguments = next(iter(item.items()))
        return str(path), mapping(f"{key}.{path}", arguments or {})
    raise RecipeError(f"{key} has the entry {item!r}; write a class path or 'path: {{arguments}}'")


def buffer_class(key: str, value: Any) -> str:
    """The dotted path of a replay buffer."""
    class_named(key, value, ReplayBuffer)
    return str(value)


POLICY_CLASSES: dict[str, type] = {
    "optimizer_class": th.optim.Optimizer,
    "features_extractor_class": BaseFeaturesExtractor,
    "activation_fn": th.nn.Module,
}
UNIT = number(0, 1)
KEYS: dict[str, Check] = {
    "batch_size": whole(1),
    "buffer_size": whole(1),
    "env_wrapper": env_wrapper,
    "exploration_final_eps": UNIT,
    "exploration_fraction": number(0, 1, above=True),
    "exploration_initial_eps": UNIT,
    "frame_stack": whole(1, 64),
    "gamma": UNIT,
    "gradient_steps": whole(-1),
    "learning_rate": learning_rate,
    "learning_starts": whole(0),
    "max_grad_norm": number(0, math.inf, above=True),
    "n_envs": whole(1, 1024),
    "n_steps": whole(1, 1000),
    "n_timesteps": whole(1),
    "optimize_memory_usage": flag,
    "policy": policy,
    "policy_kwargs": policy_kwargs,
    "replay_buffer_class": buffer_class,
    "replay_buffer_kwargs": mapping,
    "stats_window_size": whole(1),
    "target_update_interval": whole(1),
    "tau": number(0, 1, above=True),
    "train_freq": train_freq,
}
SB3_BUFFER = "stable_baselines3.common.buffers.ReplayBuffer"
GIVEN_TO_BUFFERS = {  # by the algorithm
    "action_space",
    "buffer_size",
    "device",
    "n_envs",
    "observation_space",
    "optimize_memory_usage",
}
REQUIRED = ("n_timesteps", "policy")


def check_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Every value of one game's entry, checked; whole numbers become `int`.

    :raises RecipeError: the first thing that is wrong
    """
    for key in entry:
        known_key(str(key), str(key), KEYS)
    for key in REQUIRED:
        if key not in entry:
            raise RecipeError(f"{key} is missing; copy it from hyperparams/dqn.yml")
    checked = {key: KEYS[key](key, value) for key, value in entry.items()}
    buffer_kwargs = checked.get("replay_buffer_kwargs", {})
    buffer = class_named(
        "replay_buffer_class", checked.get("replay_buffer_class", SB3_BUFFER), object
    )
    for name in buffer_kwargs:
        known_key(f"replay_buffer_kwargs.{name}", name, set(_parameters(buffer)) - GIVEN_TO_BUFFERS)
    timeouts = buffer_kwargs.get("handle_timeout_termination", True)
    if checked.get("optimize_memory_usage") and timeouts:
        raise RecipeError(
            "optimize_memory_usage needs replay_buffer_kwargs: {handle_timeout_termination: false}"
        )
    return checked


def class_named(key: str, path: Any, base: type) -> type:
    """The class at a dotted path.

    :raises RecipeError: not a path, not from the allowed packages, not there, or not a `base`
    """
    module, _, name = str(path).rpartition(".")
    if module.partition(".")[0] not in PACKAGES:
        allowed = ", ".join(PACKAGES)
        raise RecipeError(f"{key} is {path!r}; write a class's dotted path from one of: {allowed}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"{key}: there is no class {path!r} ({error})") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise RecipeError(f"{key} is {path!r}, which is not a {base.__name__} class")
    return found


def _arguments(key: str, arguments: dict[str, Any], cls: type) -> None:
    for name in arguments:
        known_key(f"{key}.{name}", name, [*_parameters(cls)][1:])


def _parameters(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)
