"""Checks the values of one game: the zoo's notation, all errors at once, values that conflict."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from custom.recipe.model import (
    ALGORITHMS,
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

EMPTY_ONLY = ("callback", "monitor_kwargs", "normalize", "vec_env_wrapper")  # of the zoo's files
NOTHING: tuple[Any, ...] = (None, False, "", "False", "None", {}, [])
OPTIMIZER = {"optimizer_class", "optimizer_kwargs"}
EVALUATED = ("env_kwargs", "policy_kwargs", "replay_buffer_kwargs")  # by the zoo, where texts
ATARI_POLICY = "custom.policies.AtariPolicy"
OF_OUR_POLICY = ("dueling", "n_atoms", "n_quantiles", "noisy", "sigma", "v_max")
ELSEWHERE = {  # keys that people write where they are not known
    **dict.fromkeys(DQNHyperparams.__annotations__, "it is a key of dqn, beside policy_kwargs"),
    **dict.fromkeys(PolicyKwargs.model_fields, "write it under policy_kwargs"),
    **dict.fromkeys(OF_OUR_POLICY, f"it is a policy_kwargs of {ATARI_POLICY}, for dqn"),
    **dict.fromkeys(EMPTY_ONLY, "it names code or needs a pickle; delete it"),
    **dict.fromkeys(
        ("clip_reward", "frame_skip", "noop_max", "screen_size", "terminal_on_life_loss"),
        f"write it behind a wrapper: {{{ZOO_WRAPPER}: {{...}}}}",
    ),
    "device": "give make DEVICE=...",
    "features_dim": "write policy_kwargs: {features_extractor_kwargs: {features_dim: ...}}",
    "prioritized_replay_alpha": "write prioritized_replay: {alpha: ...}",
    "prioritized_replay_beta0": "write prioritized_replay: {beta: ...}",
    "seed": "give make SEED=...",
    "sticky": "play ALE/<game>-v5, or write env_kwargs: {repeat_action_probability: 0.25}",
    "subsample_steps": "write gradient_steps: train_freq divided by it",
    "target_network_update_freq": "write target_update_interval",
}
NEEDS = {
    "munchausen_clip": "munchausen_alpha",
    "munchausen_temperature": "munchausen_alpha",
    "sigma": "noisy",
    "v_max": "n_atoms",
}
INNER: dict[str, type[Values]] = {
    "env_kwargs": EnvKwargs,
    "policy_kwargs": PolicyKwargs,
    "prioritized_replay": PrioritizedReplay,
}


def check(entry: dict[str, Any], algo: str) -> Hyperparams:
    """The values of one game, typed.

    :param entry: plain data, as in a recipe or in the zoo's ``config.yml``; null removes a key
    :raises ValueError: all that is wrong, a line each
    """
    model = ALGORITHMS[algo]
    try:
        typed = model.model_validate(_plain(entry, algo))
    except ValidationError as error:
        raise ValueError("\n".join(_problems(error, model))) from None
    _check_conflicts(typed)
    return typed


def _plain(entry: dict[str, Any], algo: str) -> dict[str, Any]:
    """An entry with what it implies: the zoo's texts evaluated, a policy named by its own keys."""
    values = {
        key: literal(key, value) if key in EVALUATED else value
        for key, value in entry.items()
        if value is not None and not (key in EMPTY_ONLY and value in NOTHING)
    }
    if values.get("optimize_memory_usage") is True:  # before SB3 1.6 nothing else was said of it
        values.setdefault("replay_buffer_kwargs", {"handle_timeout_termination": False})
    kwargs = values.get("policy_kwargs")
    is_ours = isinstance(kwargs, dict) and not kwargs.keys().isdisjoint(OF_OUR_POLICY)
    if is_ours and algo == "dqn" and values.get("policy", "CnnPolicy") == "CnnPolicy":
        values["policy"] = ATARI_POLICY
    return values


def _problems(error: ValidationError, model: type[Values]) -> Iterable[str]:
    """Pydantic's errors, a line for each key: its value and what to write."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for each in error.errors():  # one for each type that a value may have
        found.setdefault(each["loc"][: 2 if each["loc"][0] in INNER else 1], []).append(each)
    for place, errors in found.items():
        key, kind, value = ".".join(map(str, place)), errors[0]["type"], errors[0]["input"]
        if kind == "missing":
            yield f"{key} is missing; copy it from hyperparams/dqn.yml"
        elif kind == "extra_forbidden":
            known = INNER[place[0]] if len(place) > 1 else model
            yield unknown(key, known.model_fields)
        elif kind == "value_error":
            yield f"{key} {errors[0]['ctx']['error']}"
        elif kind == "model_type":
            yield f"{key} is {value!r}; write named values: {{name: value}}"
        else:
            said = " or ".join(dict.fromkeys(each["msg"] for each in errors))
            if key == "learning_rate":
                said = "it must be a number above 0, at most 1, or fall to 0: lin_1e-4"
            yield f"{key} is {value!r}; {said.replace('Input should be', 'it must be')}"


def unknown(key: str, known: Iterable[str]) -> str:
    """What to say of a key that nobody reads."""
    name = key.rpartition(".")[2]
    if name in ELSEWHERE:
        return f"{key} is not known here; {ELSEWHERE[name]}"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
    return f"{key} is not a known key; {hint}"


def _check_conflicts(values: Hyperparams) -> None:
    """Refuse what would be accepted and ignored; `prepare` reports what SB3 refuses."""
    given = values.policy_kwargs.model_fields_set
    for name, needed in NEEDS.items():
        owner = values.policy_kwargs if name in OF_OUR_POLICY else values
        if name in owner.model_fields_set and not getattr(owner, needed):
            raise ValueError(f"{name} does nothing without {needed}; add that, or delete it")
    if (
        getattr(values, "exploration_decay", 0)
        and "exploration_fraction" in values.model_fields_set
    ):
        raise ValueError("exploration_fraction does nothing beside exploration_decay; delete one")
    if values.n_steps > 1 and values.replay_buffer_class.endswith(".ReplayBuffer"):
        raise ValueError("n_steps above 1 needs a replay of its own; delete replay_buffer_class")
    if values.n_envs > 1 and values.period[1] == "episode":
        raise ValueError("train_freq in episodes needs n_envs: 1; write it in steps")
    if isinstance(values, QRDQNHyperparams) and given & OPTIMIZER == {"optimizer_kwargs"}:
        raise ValueError("policy_kwargs.optimizer_kwargs needs optimizer_class beside it")
