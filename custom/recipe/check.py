"""Checks the values of one game: the zoo's notation, all errors at once, values that conflict."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from custom.recipe.model import (
    ALGORITHMS,
    PAPERS_WRAPPER,
    ZOO_WRAPPER,
    DQNHyperparams,
    EnvKwargs,
    Hyperparams,
    PolicyKwargs,
    PrioritizedReplay,
    QRDQNHyperparams,
    Values,
)
from custom.recipe.yaml_text import literal

REQUIRED = {"env_wrapper": ZOO_WRAPPER, "frame_stack": 4, "n_timesteps": 1, "policy": "CnnPolicy"}
EMPTY_ONLY = ("callback", "monitor_kwargs", "normalize", "vec_env_wrapper")  # of the zoo's files
NOTHING: tuple[Any, ...] = (None, False, "", "False", "None", {}, [])
EVALUATED = ("env_kwargs", "policy_kwargs", "replay_buffer_kwargs")  # by the zoo, where texts
ATARI_OPTIONS = {"dueling", "n_atoms", "n_quantiles", "noisy", "sigma", "v_max"}
ATARI_POLICY = "policy: custom.policies.AtariPolicy"
ELSEWHERE = {  # keys that people write at the top
    **dict.fromkeys(PolicyKwargs.model_fields, "write it under policy_kwargs"),
    **dict.fromkeys(ATARI_OPTIONS, f"write it under policy_kwargs, with {ATARI_POLICY}"),
    **dict.fromkeys(
        ("clip_reward", "frame_skip", "noop_max", "screen_size", "terminal_on_life_loss"),
        f"write it behind a wrapper: {{{ZOO_WRAPPER}: {{...}}}}",
    ),
    "actions": f"write it behind a wrapper: {{{PAPERS_WRAPPER}: {{actions: ...}}}}",
    "device": "give make DEVICE=...",
    "features_dim": "write policy_kwargs: {features_extractor_kwargs: {features_dim: ...}}",
    "param_noise": f"write noisy: true under policy_kwargs, with {ATARI_POLICY}",
    "prioritized_replay_alpha": "write prioritized_replay: {alpha: ...}",
    "prioritized_replay_beta0": "write prioritized_replay: {beta: ...}",
    "prioritized_replay_beta_iters": "delete it; beta rises to 1 over the run",
    "seed": "give make SEED=...",
    "sticky": "play ALE/<game>-v5, or write env_kwargs: {repeat_action_probability: 0.25}",
    "subsample_steps": "write gradient_steps: train_freq divided by it",
    "target_network_update_freq": "write target_update_interval",
}
INNER: dict[str, type[Values]] = {"env_kwargs": EnvKwargs, "prioritized_replay": PrioritizedReplay}
EITHER = {  # what may be of two types
    "gradient_steps": "a whole number above 0, or -1 for as many as steps",
    "learning_rate": "a number above 0 and at most 1, or e.g. lin_1e-4",
    "n_atoms": "a whole number from 2 to 1000, or 0 for none",
    "train_freq": "a whole number above 0, or [number, step or episode]",
}
NEEDS = {
    "munchausen_clip": "munchausen_alpha",
    "munchausen_temperature": "munchausen_alpha",
    "sigma": "noisy",
    "v_max": "n_atoms",
}


def check(entry: dict[str, Any], algo: str) -> Hyperparams:
    """The values of one game, typed.

    :param entry: plain data, as in a recipe or in the zoo's ``config.yml``; null removes a key
    :raises ValueError: all that is wrong, a line each
    """
    model, problems = ALGORITHMS[algo], list[str]()
    values = _plain(entry, problems)
    try:
        typed = model.model_validate(values)
    except ValidationError as error:
        problems += [_said(each, model) for each in error.errors()]
        bad = {each["loc"][0] for each in error.errors()}
        typed = model.model_validate(REQUIRED | {k: v for k, v in values.items() if k not in bad})
    problems += _conflicts(typed)
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))
    return typed


def _plain(entry: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The zoo's notation as a recipe's: texts that it evaluates, and keys that say nothing."""
    values = {}
    for key, value in entry.items():
        if key in EMPTY_ONLY and value not in NOTHING:
            problems.append(f"{key} is {value!r}, which names code or needs a pickle; delete it")
        elif key not in EMPTY_ONLY and value is not None:
            try:
                values[key] = literal(value) if key in EVALUATED else value
            except ValueError as error:
                problems.append(f"{key} {error}")
    if values.get("optimize_memory_usage") is True:  # before SB3 1.6 nothing else was said of it
        values.setdefault("replay_buffer_kwargs", {"handle_timeout_termination": False})
    return values


def _said(error: Any, model: type[Values]) -> str:
    """An error of Pydantic's: key, value and what to write."""
    place, kind, value = error["loc"], error["type"], error["input"]
    either = [part for part in place if part in EITHER]
    if either and (kind != "value_error" or len(place) > 2):
        return f"{either[0]} is {value!r}; write {EITHER[either[0]]}"
    key = ".".join(map(str, place))
    if kind == "missing":
        return f"{key} is missing; copy it from hyperparams/dqn.yml"
    if kind == "extra_forbidden":
        known = INNER[place[0]] if len(place) > 1 else model
        return f"{key} {_unknown(str(place[-1]), known)}"
    if kind == "value_error":
        return f"{key} {error['ctx']['error']}"
    if kind in ("dict_type", "model_type"):
        example = "{alpha: 0.6, beta: 0.4}" if key == "prioritized_replay" else "{name: value}"
        return f"{key} is {value!r}; write named values, e.g. {example}"
    return wrong(key, value, error["msg"])


def _unknown(key: str, model: type[Values]) -> str:
    if key in DQNHyperparams.model_fields:
        return "is not for qrdqn, which is sb3-contrib's; delete it"
    if key in ELSEWHERE and model in ALGORITHMS.values():
        return f"does not stand here; {ELSEWHERE[key]}"
    return unknown(key, model.model_fields)


def wrong(key: str, value: Any, message: str) -> str:
    """What to say of a value with which Pydantic is not content."""
    return f"{key} is {value!r}; {message.replace('Input should be', 'it must be')}"


def unknown(key: str, known: Iterable[str]) -> str:
    """What to say of a key that nobody reads."""
    if key in ATARI_OPTIONS:
        return f"needs {ATARI_POLICY}, which is for dqn"
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
    return f"is not a known key; {hint}"


def _conflicts(values: Hyperparams) -> list[str]:
    """What SB3 would accept and ignore; `prepare` reports what SB3 refuses."""
    network, contrib = values.policy_kwargs, isinstance(values, QRDQNHyperparams)
    given, decays = values.model_fields_set | network.model_fields_set, "exploration_decay"
    problems = []
    if values.n_steps > 1 and values.replay_buffer_class.endswith(".ReplayBuffer"):
        problems.append("n_steps above 1 needs a replay of its own; delete replay_buffer_class")
    if values.n_envs > 1 and values.period[1] == "episode":
        problems.append("train_freq in episodes needs n_envs: 1; write it in steps")
    if "exploration_fraction" in given and getattr(values, decays, 0) > 0:
        problems.append(f"exploration_fraction does nothing beside {decays}; delete one")
    if contrib and "optimizer_kwargs" in given and "optimizer_class" not in given:
        problems.append("policy_kwargs.optimizer_kwargs needs optimizer_class beside it")
    for name in given & set(NEEDS):
        if not getattr(network if name in ATARI_OPTIONS else values, NEEDS[name]):
            problems.append(f"{name} does nothing without {NEEDS[name]}; add that, or delete it")
    return problems
