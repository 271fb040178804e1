"""The typed recipe: every hyperparameter of one game, with the algorithm's own defaults.

Keys are those of the zoo's YAML files and of the algorithm's constructor. Values are plain data; a
class is its dotted path, which `custom.recipe.classes` resolves. Nothing of PyTorch is imported.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from custom.recipe.yaml_text import literal

ZOO_WRAPPER = "stable_baselines3.common.atari_wrappers.AtariWrapper"
PAPERS_WRAPPER = "custom.wrappers.DeepMindAtariWrapper"


def _number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            problem = f"write !!float {float(value):g}"
        except ValueError:
            problem = "write a number"
        raise ValueError(f"is the text {value!r}; {problem}")
    if isinstance(value, bool):
        raise ValueError(f"is {value}; write a number")
    return value


Share = Annotated[float, Field(ge=0, le=1)]
Norm = Annotated[float, Field(gt=0, allow_inf_nan=True)]
Count = Annotated[int, Field(ge=1, le=2**53)]
LearningRate = (
    Annotated[float, Field(gt=0, le=1)]
    | Annotated[str, Field(pattern=r"^lin_(0?\.\d+|\d(\.\d+)?e-\d+)$")]
)
TrainFreq = Count | tuple[Count, Literal["step", "episode"]]


SENSELESS = {
    ("gradient_steps", 0): "it learns nothing; write 1, or -1 for as many as steps",
    ("n_atoms", 1): "a distribution needs 2 atoms, and 0 means none",
}
EITHER = {  # what may be of two types
    "learning_rate": "a number above 0 and at most 1, or e.g. lin_1e-4",
    "train_freq": "a whole number above 0, or [number, step or episode]",
}


class Values(BaseModel):
    """Named values that never change; descriptions become those of the JSON Schema."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def refuse_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic would take true for 1, and the text '1e-4', as which YAML reads 1e-4."""
        name = str(info.field_name)
        if isinstance(value, int) and (name, value) in SENSELESS:
            raise ValueError(f"is {value}; {SENSELESS[name, value]}")
        is_rate = name == "learning_rate" and not str(value).startswith("lin_")
        kind = cls.model_fields[name].annotation
        return _number(value) if kind in (int, float, float | None) or is_rate else value

    @property
    def given(self) -> dict[str, Any]:
        """What was written, without defaults; plain data, a copy."""
        return self.model_dump(exclude_unset=True)


class WrapperArguments(Values):
    """What wrappers of this project and SB3's AtariWrapper take; one of your own may take more."""

    model_config = ConfigDict(extra="allow")
    actions: Annotated[list[StrictStr], Field(min_length=1)] = []
    clip_reward: StrictBool = True
    frame_skip: Annotated[int, Field(ge=1, le=60)] = 4
    noop_max: Annotated[int, Field(ge=0, le=1000)] = 30
    screen_size: Annotated[int, Field(ge=36, le=210)] = 84  # 36: the least for 3 convolutions
    terminal_on_life_loss: StrictBool = True


def wrapper_items(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Path and arguments of each wrapper, innermost first; a copy.

    :raises ValueError: an entry is neither a path nor ``{path: arguments}``
    """
    items = []
    for item in value if isinstance(value, list) else [value]:
        pairs = item.items() if isinstance(item, dict) and len(item) == 1 else [(item, None)]
        [(path, arguments)] = pairs
        if not isinstance(path, str) or not isinstance(arguments, dict | None):
            raise ValueError(f"has the entry {item!r}; write a class path or 'path: {{arguments}}'")
        items.append((path, dict(arguments or {})))
    return items


def _env_wrapper(value: Any) -> Any:
    items = wrapper_items(value)
    for place, (path, arguments) in enumerate(items):
        if path != ZOO_WRAPPER and not path.startswith("custom."):
            raise ValueError(f"is {path!r}; write {ZOO_WRAPPER} or a custom. one")
        try:
            typed = WrapperArguments.model_validate(arguments).model_dump(exclude_unset=True)
            items[place] = path, typed
        except ValidationError as error:
            said = "\n".join(_said(one, WrapperArguments) for one in error.errors())
            raise ValueError(f"{path.rpartition('.')[2]}: {said}") from None
    if sum(path.endswith("AtariWrapper") for path, _ in items) != 1:
        raise ValueError(f"needs one wrapper that skips and shrinks frames: {ZOO_WRAPPER}")
    return [{path: arguments} if arguments else path for path, arguments in items]


EnvWrapper = Annotated[
    str | dict[str, Any] | list[str | dict[str, Any]], BeforeValidator(_env_wrapper)
]


class EnvKwargs(Values):
    """Arguments of ale-py's environment."""

    full_action_space: StrictBool = False
    mode: Annotated[int, Field(ge=0, le=1000)] = 0
    difficulty: Annotated[int, Field(ge=0, le=1000)] = 0
    repeat_action_probability: Share = 0.0
    """Sticky actions (Machado et al. 2018)."""


class PolicyKwargs(Values):
    """Arguments of the policy; a policy of your own may take more."""

    model_config = ConfigDict(extra="allow")
    activation_fn: StrictStr = ""
    features_extractor_class: StrictStr = ""
    features_extractor_kwargs: dict[str, Any] = {}
    net_arch: list[Count] = []
    normalize_images: StrictBool = True
    optimizer_class: StrictStr = ""
    optimizer_kwargs: dict[str, Any] = {}
    dueling: StrictBool = False
    """Wang et al. 2016; this and what follows is of custom.policies.AtariPolicy."""
    noisy: StrictBool = False
    """Fortunato et al. 2018."""
    sigma: Annotated[float, Field(gt=0, le=100)] = 0.5
    """Of the noise at the start."""
    n_atoms: Annotated[int, Field(ge=0, le=1000)] = 0
    """Of the return (C51, Bellemare et al. 2017); 0: none."""
    v_max: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    """The atoms reach from -v_max to v_max."""
    n_quantiles: Annotated[int, Field(ge=0, le=1000)] = 0
    """Of the return (QR-DQN, Dabney et al. 2018); 0: none."""


class PrioritizedReplay(Values):
    """Exponents of prioritized replay (Schaul et al. 2016)."""

    alpha: Share = 0.6
    beta: Share = 0.4


class Hyperparams(Values):
    """What both algorithms know. Unit of time: steps of all games together (1 step = 4 frames)."""

    env_wrapper: EnvWrapper
    """Wrappers of one game, innermost first: class paths, or {path: arguments}."""
    frame_stack: Annotated[int, Field(ge=1, le=64)]
    n_timesteps: Count
    """Budget of the run."""
    policy: StrictStr
    """CnnPolicy, or the dotted path of a policy class."""
    batch_size: Annotated[int, Field(ge=1, le=100_000)] = 32
    buffer_size: Count = 1_000_000
    """Transitions of the replay."""
    env_kwargs: EnvKwargs = EnvKwargs()
    exploration_final_eps: Share = 0.05
    exploration_fraction: Share = 0.1
    """Share of the budget in which epsilon falls."""
    exploration_initial_eps: Share = 1.0
    frame_stack_padding: Literal["zero", "first"] = "zero"
    """Before the first frame of an episode: blank frames, or that frame again."""
    gamma: Share = 0.99
    gradient_steps: Annotated[int, Field(ge=-1, le=10**6)] = 1
    """Updates after each train_freq; -1: as many as steps were taken."""
    learning_rate: LearningRate = 1e-4
    """A number, or lin_NUMBER: falls to 0 over the run."""
    learning_starts: Annotated[int, Field(ge=0, le=2**53)] = 100
    """Steps at random before the first update."""
    max_grad_norm: Norm | None = 10
    n_envs: Annotated[int, Field(ge=1, le=1024)] = 1
    """Games at once."""
    n_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Steps of a return."""
    optimize_memory_usage: StrictBool = False
    policy_kwargs: PolicyKwargs = PolicyKwargs()
    replay_buffer_class: StrictStr = ""
    replay_buffer_kwargs: dict[str, Any] = {}
    stats_window_size: Count = 100
    target_update_interval: Count = 10_000
    tau: Annotated[float, Field(gt=0, le=1)] = 1.0
    train_freq: TrainFreq = 4
    """Steps of each game between updates, or [n, step] or [n, episode]."""

    @property
    def period(self) -> tuple[int, str]:
        """Of updates: a number of steps of each game, or of episodes."""
        return (self.train_freq, "step") if isinstance(self.train_freq, int) else self.train_freq

    def replace(self, **values: Any) -> Hyperparams:
        """A copy with other values, checked."""
        return type(self).model_validate({**self.given, **values})


class DQNHyperparams(Hyperparams):
    """DQN, with the options of the papers that followed it."""

    double_q: StrictBool = False
    """The online network chooses the next action (van Hasselt et al. 2016)."""
    exploration_decay: Share = 0.0
    """Above 0: epsilon falls exponentially at this rate per step."""
    loss: Literal["huber", "mse"] = "huber"
    munchausen_alpha: Share = 0.0
    """Vieillard et al. 2020, as the next two."""
    munchausen_clip: Annotated[float, Field(le=0)] = -1.0
    munchausen_temperature: Annotated[float, Field(gt=0, le=1e6)] = 0.03
    prioritized_replay: PrioritizedReplay | None = None


class QRDQNHyperparams(Hyperparams):
    """sb3-contrib's QR-DQN, with its defaults."""

    exploration_final_eps: Share = 0.01
    exploration_fraction: Share = 0.005
    learning_rate: LearningRate = 5e-5
    max_grad_norm: Norm | None = None


ALGORITHMS: dict[str, type[Hyperparams]] = {"dqn": DQNHyperparams, "qrdqn": QRDQNHyperparams}
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
        problems += [_said(one, model) for one in error.errors()]
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


def _said(error: Any, model: type[Values]) -> str:
    """An error of Pydantic's: key, value and what to write."""
    key, kind, first = "", str(error["type"]), str(error["loc"][0])
    if first in EITHER and kind != "value_error":
        return f"{first} is {error['input']!r}; write {EITHER[first]}"
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    if kind == "missing":
        return f"{key} is missing; copy it from hyperparams/dqn.yml"
    if kind == "extra_forbidden":
        return f"{key} {_unknown(error['loc'], model)}"
    if kind == "value_error":
        return f"{key} {error['ctx']['error']}"
    if kind in ("dict_type", "model_type"):
        return f"{key} is {error['input']!r}; write named values, e.g. {{name: value}}"
    message = error["msg"].replace("Input should be", "it must be").replace(" valid ", " ")
    return f"{key} is {error['input']!r}; {message}"


def _unknown(place: tuple[Any, ...], model: type[Values]) -> str:
    key = str(place[-1])
    if len(place) > 1:
        return unknown(key, list(INNER[str(place[0])].model_fields))
    if key in DQNHyperparams.model_fields:
        return "is not for qrdqn, which is sb3-contrib's; delete it"
    if key in ELSEWHERE:
        return f"does not stand here; {ELSEWHERE[key]}"
    return unknown(key, list(model.model_fields))


def unknown(key: str, known: list[str]) -> str:
    """What to say of a key that nobody reads."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
    return f"is not a known key; {hint}"


def _conflicts(values: Hyperparams) -> list[str]:
    """What SB3 would take in silence, and not do; what it refuses, `build` tells."""
    network, contrib = values.policy_kwargs, isinstance(values, QRDQNHyperparams)
    given = values.model_fields_set | network.model_fields_set
    problems = []
    if values.n_steps > 1 and values.replay_buffer_class.endswith(".ReplayBuffer"):
        problems.append("n_steps above 1 needs a replay of its own; delete replay_buffer_class")
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


def json_schema() -> dict[str, Any]:
    """JSON Schema of a recipe file, by which editors complete and check keys."""
    entry = DQNHyperparams.model_json_schema()
    definitions = entry.pop("$defs")
    del entry["required"]  # they may stand in the recipe that is extended
    entry["properties"] = {
        name: {"anyOf": [value, {"type": "null"}], "description": value.get("description", "")}
        for name, value in entry["properties"].items()
    } | {"algo": {"enum": list(ALGORITHMS)}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "Entries: atari for every game, and environment ids for games that differ.",
        "type": "object",
        "properties": {"extends": {"type": "string", "description": "Name of another recipe."}},
        "additionalProperties": {"$ref": "#/$defs/entry"},
        "$defs": {**definitions, "entry": entry},
    }
