"""Checks the values of one game: the zoo's notation, all errors at once, values that conflict."""

from __future__ import annotations

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
    WrapperArguments,
)
from custom.recipe.words import said, unknown
from custom.recipe.yaml_text import literal

REQUIRED = {"env_wrapper": ZOO_WRAPPER, "frame_stack": 4, "n_timesteps": 1, "policy": "CnnPolicy"}
EMPTY_ONLY = {  # keys of the zoo's files that change what is played or measured
    "callback": "names code",
    "monitor_kwargs": "changes what is measured",
    "normalize": "needs statistics, which come as a pickle",
    "vec_env_wrapper": "names code",
}
NOTHING: tuple[Any, ...] = (None, False, "", "False", "None", {}, [])
EVALUATED = ("env_kwargs", "policy_kwargs", "replay_buffer_kwargs")  # by the zoo, where texts
ATARI_OPTIONS = {"dueling", "n_atoms", "n_quantiles", "noisy", "sigma", "v_max"}
ATARI_POLICY = "policy: custom.policies.AtariPolicy"
ELSEWHERE = {  # keys that people write at the top
    **dict.fromkeys(PolicyKwargs.model_fields, "write it under policy_kwargs"),
    **dict.fromkeys(ATARI_OPTIONS, f"write it under policy_kwargs, with {ATARI_POLICY}"),
    **dict.fromkeys(
        WrapperArguments.model_fields, f"write it behind a wrapper: {{{ZOO_WRAPPER}: {{...}}}}"
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
INNER: dict[str, type[Values]] = {
    "env_kwargs": EnvKwargs,
    "prioritized_replay": PrioritizedReplay,
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
        problems += [said(one, lambda place: _unknown(place, model)) for one in error.errors()]
        bad = {one["loc"][0] for one in error.errors()}
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
            problems.append(f"{key} is {value!r}, which {EMPTY_ONLY[key]}; delete it")
        elif key not in EMPTY_ONLY and value is not None:
            try:
                values[key] = literal(value) if key in EVALUATED else value
            except ValueError as error:
                problems.append(f"{key} {error}")
    if values.get("optimize_memory_usage") is True:  # before SB3 1.6 nothing else was said of it
        values.setdefault("replay_buffer_kwargs", {"handle_timeout_termination": False})
    return values


def _unknown(place: tuple[Any, ...], model: type[Values]) -> str:
    key = str(place[-1])
    if len(place) > 1:
        return unknown(key, list(INNER[str(place[0])].model_fields))
    if key in DQNHyperparams.model_fields:
        return "is not for qrdqn, which is sb3-contrib's; delete it"
    if key in ELSEWHERE:
        return f"does not stand here; {ELSEWHERE[key]}"
    return unknown(key, list(model.model_fields))


def _conflicts(values: Hyperparams) -> list[str]:
    """What SB3 would accept and ignore; `prepare` reports what SB3 refuses."""
    network, contrib = values.policy_kwargs, isinstance(values, QRDQNHyperparams)
    given = values.model_fields_set | network.model_fields_set
    problems = []
    if values.n_steps > 1 and values.replay_buffer_class.endswith(".ReplayBuffer"):
        problems.append("n_steps above 1 needs a replay of its own; delete replay_buffer_class")
    if values.n_envs > 1 and values.period[1] == "episode":
        problems.append("train_freq in episodes needs n_envs: 1; write it in steps")
    if "exploration_fraction" in given and getattr(values, "exploration_decay", 0) > 0:
        problems.append("exploration_fraction does nothing beside exploration_decay; delete one")
    if contrib and "optimizer_kwargs" in given and "optimizer_class" not in given:
        problems.append("policy_kwargs.optimizer_kwargs needs optimizer_class beside it")
    for name in given & set(NEEDS):
        if not getattr(network if name in ATARI_OPTIONS else values, NEEDS[name]):
            problems.append(f"{name} does nothing without {NEEDS[name]}; add that, or delete it")
    if values.policy == "CnnPolicy":
        options = network.model_fields_set & (ATARI_OPTIONS - {"n_quantiles" if contrib else ""})
        who = "is not for qrdqn; delete it" if contrib else f"needs {ATARI_POLICY}"
        problems += [f"policy_kwargs.{name} {who}" for name in sorted(options)]
    return problems
