"""Classes that a recipe may name, and their arguments: policies, networks, optimizers, wrappers."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from custom.recipe_values import (
    Check,
    RecipeError,
    flag,
    known_key,
    listed,
    mapping,
    number,
    one_of,
    text,
    whole,
)

PACKAGES = ("custom", "gymnasium", "sb3_contrib", "stable_baselines3", "torch")


def actions(key: str, value: Any) -> list[str]:
    """Names of some of a game's actions."""
    names: list[str] = listed(text)(key, value)
    if not names or len(set(names)) < len(names):
        raise RecipeError(f"{key} is {value}; write each action once, e.g. [NOOP, FIRE]")
    return names


def atoms(key: str, value: Any) -> int:
    """A number of atoms, or 0 for none."""
    n_atoms: int = whole(0, 1000)(key, value)
    if n_atoms == 1:
        raise RecipeError(f"{key} is 1; a distribution needs 2 atoms at least, and 0 means none")
    return n_atoms


def filters(key: str, value: Any) -> list[Any]:
    """Layers of convolutions: channels, kernel and stride of each."""
    for place, layer in enumerate(listed(lambda _, item: item)(key, value)):
        where = f"{key}[{place}]"
        if not isinstance(layer, list) or len(layer) != 3:
            raise RecipeError(f"{where} is {layer!r}; write [channels, kernel, stride]")
        whole(1, 1024)(where, layer[0])
        for size in layer[1:]:
            pair = size if isinstance(size, list) and len(size) == 2 else [size]
            for one in pair:
                whole(1)(where, one)
    return list(value)


UNFIT_OPTIMIZERS = ("torch.optim.LBFGS", "torch.optim.SparseAdam", "torch.optim.Optimizer")
PAPERS_WRAPPER = "custom.wrappers.DeepMindAtariWrapper"
ZOO_WRAPPER = "stable_baselines3.common.atari_wrappers.AtariWrapper"
WRAPPER_ARGUMENTS: dict[str, Check] = {  # sticky actions are the game's: ALE/…-v5
    "actions": actions,
    "bottom": whole(0, 120),
    "clip_reward": flag,
    "frame_skip": whole(1, 60),
    "left": whole(0, 120),
    "noop_max": whole(0, 1000),
    "right": whole(0, 120),
    "screen_size": whole(36, 210),  # 36: the smallest that three convolutions take
    "terminal_on_life_loss": flag,
    "top": whole(0, 120),
}
NETWORK_VALUES: dict[str, Check] = {
    "activation": one_of("ELU", "GELU", "LeakyReLU", "ReLU", "SELU", "SiLU", "Tanh"),
    "filters": filters,
    "frames": whole(1),
    "hidden": listed(whole(1, 65_536)),
    "width": whole(1, 64),
}
POLICY_CLASSES: dict[str, type] = {
    "optimizer_class": th.optim.Optimizer,
    "features_extractor_class": BaseFeaturesExtractor,
    "activation_fn": th.nn.Module,
}
POLICY_VALUES: dict[str, Check] = {
    "dueling": flag,
    "n_atoms": atoms,
    "n_quantiles": whole(0, 1000),
    "net_arch": listed(whole(1)),
    "noisy": flag,
    "sigma": number(0, 100, above=True),
    "v_max": number(0, 1e6, above=True),
}


def policy_kwargs(key: str, value: Any) -> dict[str, Any]:
    """Arguments of the policy class; classes are dotted paths. `check_entry` knows the names."""
    settings = mapping(key, value)
    for name, setting in settings.items():
        if name in POLICY_CLASSES and setting is not None:
            class_named(f"{key}.{name}", setting, POLICY_CLASSES[name])
        if name in POLICY_VALUES:
            POLICY_VALUES[name](f"{key}.{name}", setting)
    for owner in ("optimizer", "features_extractor"):
        arguments = mapping(f"{key}.{owner}_kwargs", settings.get(f"{owner}_kwargs") or {})
        path = settings.get(f"{owner}_class")
        default: type = th.optim.Adam if owner == "optimizer" else BaseFeaturesExtractor
        if path in UNFIT_OPTIMIZERS:
            raise RecipeError(f"{key}.{owner}_class is {path!r}, which cannot train a network here")
        if path or owner == "optimizer":
            cls = class_named(f"{key}.{owner}_class", path, object) if path else default
            check_arguments(f"{key}.{owner}_kwargs", arguments, cls)
            if cls.__module__ == "custom.networks":
                for name, argument in arguments.items():
                    NETWORK_VALUES[name](f"{key}.{owner}_kwargs.{name}", argument)
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
        if wrapper.__name__ == "CropScreen" and (screens or not arguments):
            raise RecipeError(
                f"{key}: CropScreen goes before the AtariWrapper, with e.g. {{top: 8}}"
            )
        screens += wrapper.__name__.endswith("AtariWrapper")
        if wrapper.__name__ == "ActionSet":
            raise RecipeError(f"{key}: write actions as an argument of {PAPERS_WRAPPER}")
        known = set(parameters(wrapper)) & set(WRAPPER_ARGUMENTS)
        for name, argument in arguments.items():
            known_key(f"{key}.{wrapper.__name__}.{name}", name, known)
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


def class_named(key: str, path: Any, base: type) -> type:
    """The class at a dotted path.

    :raises RecipeError: not a path, not from the allowed packages, not there, or not a `base`;
        nothing but modules of this project is imported for it
    """
    module, _, name = str(path).rpartition(".")
    if module.partition(".")[0] not in PACKAGES:
        allowed = ", ".join(PACKAGES)
        raise RecipeError(f"{key} is {path!r}; write a class's dotted path from one of: {allowed}")
    try:
        # Of others only what is loaded already: to import a module is to run it.
        own = module.partition(".")[0] == "custom"
        found = getattr(importlib.import_module(module) if own else sys.modules[module], name)
    except (ImportError, AttributeError, KeyError) as error:
        raise RecipeError(f"{key}: there is no class {path!r} ({error})") from error
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise RecipeError(f"{key} is {path!r}, which is not a {base.__name__} class")
    return found


def check_arguments(key: str, arguments: dict[str, Any], cls: type) -> None:
    """Refuse names that a constructor does not take, and numbers that YAML reads as text."""
    for name, value in arguments.items():
        known_key(f"{key}.{name}", name, set(parameters(cls)[1:]) - {"lr"})
        if isinstance(value, str) and (issubclass(cls, th.optim.Optimizer) or value[:1].isdigit()):
            number(-math.inf, math.inf)(f"{key}.{name}", value)  # says how to write it


def parameters(cls: type) -> list[str]:
    """Names of a constructor's arguments, and of those that it hands on to the class above it."""
    names = list(inspect.signature(cls).parameters)
    if "kwargs" not in names:
        return names
    above = parameters(cls.__mro__[1])
    return [*(name for name in names if name not in ("args", "kwargs")), *above]
