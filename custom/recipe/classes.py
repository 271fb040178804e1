"""Classes that a recipe names, and the arguments for them: policies, networks, wrappers, replay."""

import importlib
import inspect
import sys
from typing import Any

import gymnasium as gym
import torch as th
from sb3_contrib import QRDQN
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy

from custom.recipe.check import unknown
from custom.recipe.model import Hyperparams, QRDQNHyperparams, wrapper_items

PACKAGES = ("custom", "gymnasium", "sb3_contrib", "stable_baselines3", "torch")
PLAYERS: dict[str, type[BaseAlgorithm]] = {"dqn": DQN, "qrdqn": QRDQN}  # as SB3 loads them
GIVEN = {  # by the algorithm, the game or the recipe's other keys
    *("action_space", "args", "buffer_size", "device", "env", "kwargs", "lr", "lr_schedule"),
    *("n_envs", "observation_space", "optimize_memory_usage", "params"),
}
BASES: dict[str, type] = {
    "activation_fn": th.nn.Module,
    "features_extractor_class": BaseFeaturesExtractor,
    "optimizer_class": th.optim.Optimizer,
}
BOUNDS = {  # of wrappers' arguments
    "frame_skip": range(1, 61),
    "noop_max": range(1001),
    "screen_size": range(36, 211),  # 36: the least for 3 convolutions
    **dict.fromkeys(("bottom", "left", "right", "top"), range(121)),
}


def class_named(key: str, path: str, base: type) -> type:
    """The class at a dotted path.

    :raises ValueError: not a path, not from the allowed packages, not there, or not a `base`;
        nothing but files in ``custom/`` is imported for it
    """
    module, _, name = path.rpartition(".")
    package, *rest = module.split(".")
    if package not in PACKAGES:
        allowed = ", ".join(PACKAGES)
        raise ValueError(f"{key} is {path!r}; write a class's dotted path from one of: {allowed}")
    try:
        # Of other packages only what is loaded already: to import a module is to run it.
        own = package == "custom" and len(rest) == 1
        cls = getattr(importlib.import_module(module) if own else sys.modules[module], name)
    except (Exception, SystemExit) as error:  # whatever a file of the user's own raises
        raise ValueError(f"{key}: there is no class {path!r} ({error})") from error
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise ValueError(f"{key} is {path!r}, which is not a {base.__name__} class")
    return cls


def check_arguments(key: str, cls: type, given: dict[str, Any]) -> None:
    """Refuse arguments that a constructor does not take; `prepare` reports wrong values.

    :raises ValueError: all of them, a line each
    """
    known, problems = sorted(parameters(cls)), []
    for name, value in given.items():
        bounds = BOUNDS.get(name)
        if name not in known:
            problems.append(unknown(f"{key}.{name}", known))
        elif bounds and (isinstance(value, bool) or value not in bounds):
            most = bounds.stop - 1
            problems.append(f"{key}.{name} is {value!r}; it must be from {bounds.start} to {most}")
    if problems:
        raise ValueError("\n".join(problems))


def parameters(cls: type) -> set[str]:
    """Names of a constructor's arguments, and of those of the class that it extends."""
    names = set(inspect.signature(cls).parameters)
    return names - GIVEN | (parameters(cls.__mro__[1]) if "kwargs" in names else set())


def resolve(values: Hyperparams) -> dict[str, Any]:
    """What a recipe says, with classes in place of their paths.

    :raises ValueError: a class is not there, or does not take its arguments
    """
    found, contrib = values.given, isinstance(values, QRDQNHyperparams)
    policy: Any = (QRDQN if contrib else DQN).policy_aliases["CnnPolicy"]
    if values.policy != "CnnPolicy":
        policy = class_named("policy", values.policy, QRDQNPolicy if contrib else DQNPolicy)
    kwargs = found.get("policy_kwargs", {})
    for name in BASES.keys() & kwargs:
        kwargs[name] = class_named(f"policy_kwargs.{name}", kwargs[name], BASES[name])
    for owner, default in (("features_extractor", NatureCNN), ("optimizer", th.optim.Adam)):
        cls, key = kwargs.get(f"{owner}_class", default), f"{owner}_kwargs"
        check_arguments(f"policy_kwargs.{key}", cls, kwargs.get(key, {}))
    check_arguments("policy_kwargs", policy, kwargs)
    buffer: type = NStepReplayBuffer
    if path := values.replay_buffer_class:
        buffer = class_named("replay_buffer_class", path, ReplayBuffer)
        found["replay_buffer_class"] = buffer
    check_arguments("replay_buffer_kwargs", buffer, values.replay_buffer_kwargs)
    for path, given in wrapper_items(values.env_wrapper):
        wrapper = class_named("env_wrapper", path, gym.Wrapper)
        check_arguments(f"env_wrapper.{wrapper.__name__}", wrapper, given)
    return found | {"policy": policy}
