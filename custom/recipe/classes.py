"""Classes that a recipe names, and the arguments for them: policies, networks, wrappers, replay."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Callable
from typing import Annotated, Any

import gymnasium as gym
import torch as th
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from sb3_contrib import QRDQN
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy

from custom.recipe.check import unknown, wrong
from custom.recipe.model import Hyperparams, QRDQNHyperparams, wrapper_items

PACKAGES = ("custom", "gymnasium", "sb3_contrib", "stable_baselines3", "torch")
PLAYERS: dict[str, type[BaseAlgorithm]] = {"dqn": DQN, "qrdqn": QRDQN}  # as SB3 loads them
GIVEN = {  # by the algorithm, the game or the recipe's other keys
    *("action_space", "buffer_size", "device", "env", "lr", "lr_schedule", "n_envs", "params"),
    *("observation_space", "optimize_memory_usage"),
}
CONFIG = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True)
BASES: dict[str, type] = {
    "activation_fn": th.nn.Module,
    "features_extractor_class": BaseFeaturesExtractor,
    "optimizer_class": th.optim.Optimizer,
}
BOUNDS: dict[str, Any] = {  # of arguments of wrappers, whose signatures have types only
    "actions": Annotated[list[str], Field(min_length=1)],
    "frame_skip": Annotated[int, Field(ge=1, le=60)],
    "noop_max": Annotated[int, Field(ge=0, le=1000)],
    "screen_size": Annotated[int, Field(ge=36, le=210)],  # 36: the least for 3 convolutions
    **dict.fromkeys(("bottom", "left", "right", "top"), Annotated[int, Field(ge=0, le=120)]),
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


def arguments(key: str, cls: type, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments for a constructor, each as the type that its signature says: 4.0 becomes 4.

    :raises ValueError: all names that it does not take and values of other types, a line each
    """
    known, checked, problems = parameters(cls), {}, []
    for name, value in given.items():
        try:
            if name not in known:
                raise ValueError(unknown(name, sorted(known)))
            kind = TypeAdapter(BOUNDS.get(name, known[name]), config=CONFIG)
            checked[name] = kind.validate_python(value)
        except ValidationError as error:
            problems.append(wrong(f"{key}.{name}", value, error.errors()[0]["msg"]))
        except ValueError as error:
            problems.append(f"{key}.{name} {error}")
    if problems:
        raise ValueError("\n".join(problems))
    return checked


def parameters(cls: type) -> dict[str, Any]:
    """Names and types of a constructor's arguments, and of those of the class that it extends."""
    names = inspect.signature(cls).parameters
    try:
        hints = typing.get_type_hints(cls.__init__)  # type: ignore[misc]  # the class's own
    except Exception:  # a type that is imported for type checkers only, or is not there
        hints = {}
    known = {n: hints.get(n, Any) for n in names if n not in GIVEN | {"args", "kwargs"}}
    return known | (parameters(cls.__mro__[1]) if "kwargs" in names else {})


def resolve(values: Hyperparams) -> dict[str, Any]:
    """What a recipe says, with classes in place of paths and arguments of the types that they take.

    :raises ValueError: all that is wrong with classes and their arguments, a line each
    """
    found, problems = values.given, list[str]()

    def attempt(function: Callable[..., Any], *given: Any) -> Any:
        try:
            return function(*given)
        except ValueError as error:
            problems.append(str(error))
            return None

    contrib, kwargs = isinstance(values, QRDQNHyperparams), found.get("policy_kwargs", {})
    policy: Any = (QRDQN if contrib else DQN).policy_aliases["CnnPolicy"]
    if values.policy != "CnnPolicy":
        base = QRDQNPolicy if contrib else DQNPolicy
        policy = attempt(class_named, "policy", values.policy, base)
    for name in BASES.keys() & kwargs:
        kwargs[name] = attempt(class_named, f"policy_kwargs.{name}", kwargs[name], BASES[name])
    for owner, default in (("features_extractor", NatureCNN), ("optimizer", th.optim.Adam)):
        cls, key = kwargs.get(f"{owner}_class", default), f"{owner}_kwargs"
        if cls and key in kwargs:
            kwargs[key] = attempt(arguments, f"policy_kwargs.{key}", cls, kwargs[key])
    if kwargs and not problems:
        found["policy_kwargs"] = attempt(arguments, "policy_kwargs", policy, kwargs)
    buffer: Any = NStepReplayBuffer
    if path := values.replay_buffer_class:
        buffer = attempt(class_named, "replay_buffer_class", path, ReplayBuffer)
        found["replay_buffer_class"] = buffer
    if buffer and (given := values.replay_buffer_kwargs):
        found["replay_buffer_kwargs"] = attempt(arguments, "replay_buffer_kwargs", buffer, given)
    for path, given in wrapper_items(values.env_wrapper):
        if wrapper := attempt(class_named, "env_wrapper", path, gym.Wrapper):
            attempt(arguments, f"env_wrapper.{wrapper.__name__}", wrapper, given)
    if problems:
        raise ValueError("\n".join(problems))
    return found | {"policy": policy}
