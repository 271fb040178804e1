"""What a recipe may say: every key, its type and range, and the classes that it may name.

The keys are those of the zoo's YAML files and of the algorithm's constructor. Values are plain
data; a class is its dotted path, taken from an allow-list of packages and of base classes.
"""

from __future__ import annotations

import math
from typing import Any

from sb3_contrib import QRDQN
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy

from custom.recipe_classes import (
    POLICY_VALUES,
    class_named,
    env_wrapper,
    parameters,
    policy_kwargs,
)
from custom.recipe_values import (
    Check,
    RecipeError,
    flag,
    known_key,
    mapping,
    number,
    one_of,
    whole,
)

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"dqn": DQN, "qrdqn": QRDQN}  # what plays
POLICIES: dict[str, type] = {"dqn": DQNPolicy, "qrdqn": QRDQNPolicy}


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
        class_named(key, value, BasePolicy)
        return value
    raise RecipeError(f"{key} is {value!r}; write CnnPolicy or the dotted path of a policy class")


def prioritized_replay(key: str, value: Any) -> dict[str, Any]:
    """Exponents of prioritized replay, e.g. ``{alpha: 0.6, beta: 0.4}``."""
    for name, exponent in mapping(key, value).items():
        known_key(f"{key}.{name}", name, ("alpha", "beta"))
        UNIT(f"{key}.{name}", exponent)
    return dict(value)


def buffer_class(key: str, value: Any) -> str:
    """The dotted path of a replay buffer."""
    class_named(key, value, ReplayBuffer)
    if str(value).startswith("custom."):
        raise RecipeError(f"{key} is {value!r}, which is chosen by BUFFER; delete the line")
    return str(value)


UNIT = number(0, 1)
KEYS: dict[str, Check] = {
    "batch_size": whole(1, 100_000),
    "buffer_size": whole(1),
    "double_q": flag,
    "env_wrapper": env_wrapper,
    "exploration_decay": number(0, 1),
    "exploration_final_eps": UNIT,
    "exploration_fraction": number(0, 1, above=True),
    "exploration_initial_eps": UNIT,
    "frame_stack": whole(1, 64),
    "frame_stack_padding": one_of("zero", "first"),
    "gamma": UNIT,
    "gradient_steps": gradient_steps,
    "learning_rate": learning_rate,
    "learning_starts": whole(0),
    "loss": one_of("huber", "mse"),
    "max_grad_norm": number(0, math.inf, above=True),
    "munchausen_alpha": UNIT,
    "munchausen_clip": number(-math.inf, 0),
    "munchausen_temperature": number(0, 1e6, above=True),
    "n_envs": whole(1, 1024),
    "n_steps": whole(1, 1000),
    "n_timesteps": whole(1),
    "optimize_memory_usage": flag,
    "policy": policy,
    "policy_kwargs": policy_kwargs,
    "prioritized_replay": prioritized_replay,
    "replay_buffer_class": buffer_class,
    "replay_buffer_kwargs": mapping,
    "stats_window_size": whole(1),
    "target_update_interval": whole(1),
    "tau": number(0, 1, above=True),
    "train_freq": train_freq,
}
OF_DQN = (  # what sb3-contrib's QR-DQN does not know
    "double_q",
    "exploration_decay",
    "loss",
    "munchausen_alpha",
    "munchausen_clip",
    "munchausen_temperature",
    "prioritized_replay",
)
IDLE_WITHOUT = {
    "munchausen_clip": "munchausen_alpha",
    "munchausen_temperature": "munchausen_alpha",
    "sigma": "noisy",
    "v_max": "n_atoms",
}
GIVEN_TO_POLICIES = {"action_space", "lr_schedule", "observation_space"}  # by the algorithm
N_STEP = "stable_baselines3.common.buffers.NStepReplayBuffer"
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


def check_entry(entry: dict[str, Any], algo: str) -> dict[str, Any]:
    """Every value of one game's entry, checked; whole numbers become `int`.

    :param algo: name of the algorithm
    :raises RecipeError: the first thing that is wrong
    """
    known = [key for key in KEYS if algo == "dqn" or key not in OF_DQN]
    for key in entry:
        if key in KEYS and key not in known:
            raise RecipeError(f"{key} is not for {algo}, which is sb3-contrib's; delete it")
        known_key(str(key), str(key), known)
    checked = {key: KEYS[key](key, value) for key, value in entry.items()}
    for key in REQUIRED:
        if key not in entry:
            raise RecipeError(f"{key} is missing; copy it from hyperparams/dqn.yml")
    buffer = class_named(
        "replay_buffer_class", checked.get("replay_buffer_class", SB3_BUFFER), object
    )
    for name in checked.get("replay_buffer_kwargs", {}):
        known_key(f"replay_buffer_kwargs.{name}", name, set(parameters(buffer)) - GIVEN_TO_BUFFERS)
    _check_policy(checked, algo)
    _check_pairs(checked)
    _check_idle(checked)
    return checked


def _check_policy(checked: dict[str, Any], algo: str) -> None:
    if checked["policy"] == "CnnPolicy":
        cls: type = ALGORITHMS[algo].policy_aliases["CnnPolicy"]
    else:
        cls = class_named("policy", checked["policy"], POLICIES[algo])
    known = set(parameters(cls)) - GIVEN_TO_POLICIES
    arguments = checked.get("policy_kwargs", {})
    for name in arguments:
        if name in POLICY_VALUES and name not in known and algo == "dqn":
            raise RecipeError(f"policy_kwargs.{name} needs policy: custom.policies.AtariPolicy")
        known_key(f"policy_kwargs.{name}", name, known)
    if algo == "qrdqn" and "optimizer_kwargs" in arguments and "optimizer_class" not in arguments:
        raise RecipeError(
            "policy_kwargs.optimizer_kwargs would be replaced by sb3-contrib's; write"
            " optimizer_class: torch.optim.Adam beside it"
        )


def _check_idle(checked: dict[str, Any]) -> None:
    """What would do nothing, because what it belongs to is not there."""
    values = {**checked, **checked.get("policy_kwargs", {})}
    for name, owner in IDLE_WITHOUT.items():
        if name in values and not values.get(owner):
            raise RecipeError(f"{name} does nothing without {owner}; add that, or delete it")
    if "exploration_fraction" in checked and checked.get("exploration_decay"):
        raise RecipeError("exploration_fraction does nothing beside exploration_decay; delete one")


def _check_pairs(checked: dict[str, Any]) -> None:
    """Values that SB3 takes one by one but not together."""
    steps, size = checked.get("n_steps", 1), checked.get("buffer_size", 10**6)
    if steps >= size:
        raise RecipeError(f"n_steps is {steps} and buffer_size {size}; it has to be larger")
    buffer = class_named("replay_buffer_class", checked.get("replay_buffer_class", N_STEP), object)
    if steps > 1 and not issubclass(buffer, NStepReplayBuffer):
        raise RecipeError("n_steps above 1 needs a replay of its own; delete replay_buffer_class")
    if steps > 1 and checked.get("optimize_memory_usage"):
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
