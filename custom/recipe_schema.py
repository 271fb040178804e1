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
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import DQNPolicy

from custom.recipe_values import Check, RecipeError, flag, known_key, mapping, number, whole

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"dqn": DQN}  # what plays; AtariDQN trains
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


def gradient_steps(key: str, value: Any) -> int:
    """Updates after each collection; -1: as many as steps were taken."""
    steps: int = whole(-1)(key, value)
    if steps == 0:
        raise RecipeError(f"{key} is 0, which learns nothing; write 1, or -1 for as many as steps")
    return steps


def policy(key: str, value: Any) -> str:
    """SB3's alias of the image policy, or the dotted path of a policy class."""
    if value == "CnnPolicy":
        return "CnnPolicy"
    if isinstance(value, str) and "." in value:
        class_named(key, value, DQNPolicy)
        return value
    raise RecipeError(f"{key} is {value!r}; write CnnPolicy or the dotted path of a policy class")


def policy_kwargs(key: str, value: Any) -> dict[str, Any]:
    """Arguments of the policy class, with classes as dotted paths."""
    known = set(_parameters(DQN.policy_aliases["CnnPolicy"])) - GIVEN_TO_POLICIES
    settings = mapping(key, value)
    for name, setting in settings.items():
        known_key(f"{key}.{name}", name, known)
        if name in POLICY_CLASSES and setting is not None:
            class_named(f"{key}.{name}", setting, POLICY_CLASSES[name])
    for owner in ("optimizer", "features_extractor"):
        arguments = mapping(f"{key}.{owner}_kwargs", settings.get(f"{owner}_kwargs") or {})
        path = settings.get(f"{owner}_class")
        default: type = th.optim.Adam if owner == "optimizer" else BaseFeaturesExtractor
        if path in UNFIT_OPTIMIZERS:
            raise RecipeError(f"{key}.{owner}_class is {path!r}, which cannot train a network here")
        if path or owner == "optimizer":
            cls = class_named(f"{key}.{owner}_class", path, object) if path else default
            _arguments(f"{key}.{owner}_kwargs", arguments, cls)
    return settings


def env_wrapper(key: str, value: Any) -> Any:
    """A wrapper's dotted path, ``{path: arguments}``, or a list of these, innermost first."""
    items = value if isinstance(value, list) else [value]
    screens = 0
    for item in items:
        path, arguments = wrapper_item(key, item)
        if path != ZOO_WRAPPER and not path.startswith("custom."):
            raise RecipeError(f"{key} is {path!r}; write {ZOO_WRAPPER} or a custom. one")
        wrapper = class_named(key, path, gym.Wrapper)
        screens += wrapper.__name__.endswith("AtariWrapper")
        for name, argument in arguments.items():
            known_key(f"{key}.{wrapper.__name__}.{name}", name, WRAPPER_ARGUMENTS)
            WRAPPER_ARGUMENTS[name](f"{key}.{wrapper.__name__}.{name}", argument)
    if screens != 1:
        raise RecipeError(f"{key} needs one wrapper that skips and shrinks frames: {ZOO_WRAPPER}")
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
    if str(value).startswith("custom."):
        raise RecipeError(f"{key} is {value!r}, which is chosen by BUFFER; delete the line")
    return str(value)


UNFIT_OPTIMIZERS = ("torch.optim.LBFGS", "torch.optim.SparseAdam", "torch.optim.Optimizer")
ZOO_WRAPPER = "stable_baselines3.common.atari_wrappers.AtariWrapper"
WRAPPER_ARGUMENTS: dict[str, Check] = {  # sticky actions are the game's: ALE/…-v5
    "clip_reward": flag,
    "frame_skip": whole(1, 60),
    "noop_max": whole(0, 1000),
    "screen_size": whole(36, 210),  # 36: the smallest that three convolutions take
    "terminal_on_life_loss": flag,
}
POLICY_CLASSES: dict[str, type] = {
    "optimizer_class": th.optim.Optimizer,
    "features_extractor_class": BaseFeaturesExtractor,
    "activation_fn": th.nn.Module,
}
UNIT = number(0, 1)
KEYS: dict[str, Check] = {
    "batch_size": whole(1, 100_000),
    "buffer_size": whole(1),
    "env_wrapper": env_wrapper,
    "exploration_final_eps": UNIT,
    "exploration_fraction": number(0, 1, above=True),
    "exploration_initial_eps": UNIT,
    "frame_stack": whole(1, 64),
    "gamma": UNIT,
    "gradient_steps": gradient_steps,
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
GIVEN_TO_POLICIES = {"action_space", "lr_schedule", "observation_space"}  # by the algorithm
SB3_BUFFER = "stable_baselines3.common.buffers.ReplayBuffer"
GIVEN_TO_BUFFERS = {  # by the algorithm
    "action_space",
    "buffer_size",
    "device",
    "n_envs",
    "observation_space",
    "optimize_memory_usage",
}
REQUIRED = ("env_wrapper", "frame_stack", "n_timesteps", "policy")


def check_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Every value of one game's entry, checked; whole numbers become `int`.

    :raises RecipeError: the first thing that is wrong
    """
    for key in entry:
        known_key(str(key), str(key), KEYS)
    checked = {key: KEYS[key](key, value) for key, value in entry.items()}
    for key in REQUIRED:
        if key not in entry:
            raise RecipeError(f"{key} is missing; copy it from hyperparams/dqn.yml")
    buffer = class_named(
        "replay_buffer_class", checked.get("replay_buffer_class", SB3_BUFFER), object
    )
    for name in checked.get("replay_buffer_kwargs", {}):
        known_key(f"replay_buffer_kwargs.{name}", name, set(_parameters(buffer)) - GIVEN_TO_BUFFERS)
    _check_pairs(checked)
    return checked


def _check_pairs(checked: dict[str, Any]) -> None:
    """Values that SB3 takes one by one but not together."""
    if checked.get("n_steps", 1) > 1 and checked.get("optimize_memory_usage"):
        raise RecipeError(
            "n_steps above 1 needs optimize_memory_usage: false; delete replay_buffer_kwargs, too,"
            " and mind that the replay takes twice the memory"
        )
    if checked.get("n_envs", 1) > 1 and isinstance(checked.get("train_freq"), list):
        raise RecipeError("train_freq in episodes needs n_envs: 1; write it in steps")
    buffer_kwargs = checked.get("replay_buffer_kwargs", {})
    timeouts = buffer_kwargs.get("handle_timeout_termination", True)
    if checked.get("optimize_memory_usage") and timeouts:
        raise RecipeError(
            "optimize_memory_usage needs replay_buffer_kwargs: {handle_timeout_termination: false}"
        )


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
    """Refuse names that a constructor does not take, and numbers that YAML reads as text."""
    for name, value in arguments.items():
        known_key(f"{key}.{name}", name, set(_parameters(cls)[1:]) - {"lr"})
        if isinstance(value, str):
            number(-math.inf, math.inf)(f"{key}.{name}", value)  # says how to write it


def _parameters(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)
