"""Agents from files that anybody may have written: tensors are taken from them and nothing else.

SB3's own `load` unpickles a file's `data`, which can run any code. Here the network is built from
the run's checked recipe, and from the file come only tensors that fit it and a few plain numbers.
Before PyTorch reads them, on an allow-list of its own, everything is looked at without memory being
taken: what the file declares against what the recipe's network has.
"""

from __future__ import annotations

import copy
import inspect
import io
import json
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Annotated, Any

import torch as th
from gymnasium import spaces
from pydantic import BaseModel, Field, ValidationError
from stable_baselines3.common.base_class import BaseAlgorithm

from custom.env.games import make_games
from custom.learner.off_policy import TRAINING_ONLY
from custom.recipe.classes import PLAYERS, policy_class, resolve
from custom.recipe.model import Share
from custom.runs.folder import Run
from custom.runs.safe_zip import Archive

MOST_BYTES = 2**30  # of a file; the largest recipe's agent has 0.56e9 with its optimizer
MOST_DATA = 2**26
MOST_VALUES = 200_000  # of the JSON in it, each of which takes up to 100 bytes
PROTOCOL = 2  # of pickles, in PyTorch's files
MOST_PICKLE = 2**20  # names, shapes and strides of all tensors
RECORD = re.compile(r"(?P<root>[^/]+)/(?P<name>data\.pkl|data/\d+|version|byteorder)")
CALLED = {  # by a pickle that holds tensors only
    "collections OrderedDict",
    "torch FloatStorage",
    "torch LongStorage",  # counters of batch normalisation
    "torch._utils _rebuild_tensor_v2",
}
Weights = dict[str, th.Tensor]


class Numbers(BaseModel):
    """The plain numbers that are taken from an agent's file."""

    num_timesteps: Annotated[int, Field(ge=0, le=10**12)] = 0
    n_updates: Annotated[int, Field(ge=0, le=10**12, alias="_n_updates")] = 0
    exploration_rate: Share = 1.0


def safe_agent(run: Run, file: Path, device: str = "auto") -> BaseAlgorithm:
    """An agent to play with; its replay is not allocated, its optimizer is new.

    :raises ValueError: the file is not an agent of the run's recipe, or not a sound one
    :raises OSError: it cannot be read
    """
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"has {file.stat().st_size:,} bytes, of {MOST_BYTES:,} allowed")
    archive = Archive(file.read_bytes())
    numbers = _numbers(archive.read("data", MOST_DATA))
    model = _without_policy(run, device)
    expected = _expected(model)
    size = _bytes(expected)
    if size > MOST_BYTES:
        raise ValueError(f"the recipe's network has {size:,} bytes, of {MOST_BYTES:,} allowed")
    limit = 2 * size + MOST_PICKLE  # room for other layouts
    weights = _weights(archive.read("policy.pth", limit + MOST_PICKLE), expected, limit)
    _set_up(model)
    model.policy.load_state_dict(weights)
    for name, value in numbers.items():
        setattr(model, name, value)
    assert isinstance(model, BaseAlgorithm)
    return model


def _numbers(content: bytes) -> dict[str, Any]:
    """The plain numbers of an SB3 file's `data`; what is pickled in it stays the text it is."""
    if sum(map(content.count, (b"[", b"{", b","))) > MOST_VALUES:
        raise ValueError(f"data in it has more than {MOST_VALUES:,} values")
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"data in it is no JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError("data in it is no agent's")
    try:
        numbers = Numbers.model_validate(data, strict=True)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ValueError(f"{wrong['loc'][0]} is {wrong['input']!r}; {wrong['msg']}") from None
    return numbers.model_dump(by_alias=True, exclude_unset=True)


def _without_policy(run: Run, device: str) -> Any:
    """SB3's algorithm with the recipe's values and the game's spaces, not set up yet."""
    values = resolve(run.hyperparams)
    cls: Any = PLAYERS[run.facts["algo"]]
    names = set(inspect.signature(cls).parameters)
    names -= {"policy", "policy_kwargs", "replay_buffer_class"}
    if run.hyperparams.replay_buffer_class:  # training's alone
        names -= {"replay_buffer_kwargs"}
    arguments = {name: values[name] for name in names & set(values)}
    rate = run.hyperparams.learning_rate
    if isinstance(rate, str):
        arguments["learning_rate"] = float(rate.removeprefix("lin_"))
    if isinstance(run.hyperparams.train_freq, tuple):
        arguments["train_freq"] = run.hyperparams.train_freq
    arguments |= {"policy_kwargs": _policy_kwargs(values), "device": device}
    model = cls(policy_class(run.hyperparams), None, _init_setup_model=False, **arguments)
    model.observation_space, model.action_space = _spaces_of(run)
    model.n_envs = 1
    return model


def _spaces_of(run: Run) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """What a run's agent sees and does."""
    env = make_games(run.game, run.hyperparams, n_envs=1, seed=0)
    env.close()
    return env.observation_space, env.action_space


def _policy_kwargs(values: dict[str, Any]) -> dict[str, Any]:
    """The recipe's; an optimizer of this project is training's."""
    kept = dict(values.get("policy_kwargs", {}))
    if str(getattr(kept.get("optimizer_class"), "__module__", "")).startswith("custom."):
        kept = {name: value for name, value in kept.items() if name not in TRAINING_ONLY}
    return kept


def _expected(model: Any) -> Weights:
    """Names, shapes and types of the network's tensors, without memory for their values."""
    meta = th.device("meta")
    policy = type("Shapes", (model.policy_class,), {"device": meta})
    kwargs = copy.deepcopy(model.policy_kwargs)
    try:
        with meta:
            shapes = policy(model.observation_space, model.action_space, lambda _: 0.0, **kwargs)
    except Exception as error:  # whatever PyTorch makes of sizes that do not fit
        raise ValueError(f"the recipe's network cannot be built: {error}") from None
    weights: Weights = shapes.state_dict()
    return weights


def _bytes(weights: Weights) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in weights.values())


def _weights(content: bytes, expected: Weights, limit: int) -> Weights:
    """The tensors of a ``.pth``, which have the names, shapes and types that are expected."""
    try:
        records = _records(Archive(content), limit)
    except ValueError as error:
        raise ValueError(f"policy.pth in it: {error}") from None
    _check(th.load(records, map_location="meta", weights_only=True), expected)
    records.seek(0)
    weights: Weights = th.load(records, map_location="cpu", weights_only=True)
    for name, tensor in weights.items():
        if not th.isfinite(tensor).all():
            raise ValueError(f"{name} has a value that is not finite")
    return weights


def _records(archive: Archive, limit: int) -> io.BytesIO:
    """The archive written anew, with nothing in it but what was looked at.

    PyTorch has a zip reader of its own, which could see another archive in the same bytes.
    """
    clean, left = io.BytesIO(), limit
    with zipfile.ZipFile(clean, "w") as target:
        for path, member in archive.members.items():
            match = RECORD.fullmatch(path)
            if match is None:
                continue
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path} is compressed, as PyTorch never writes it")
            record = archive.read(path, MOST_PICKLE if path.endswith(".pkl") else left)
            left -= len(record)
            if match["name"] == "data.pkl":
                _check_pickle(record)
            target.writestr(path, record)
    clean.seek(0)
    return clean


def _check_pickle(content: bytes) -> None:
    """Refuse a pickle that calls anything but what makes tensors; it is only read here."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL" and argument not in CALLED:
            raise ValueError(f"its pickle calls {argument!r}, which no tensor needs")
        if opcode.name == "PROTO" and argument != PROTOCOL:  # others call in other ways, too
            raise ValueError(f"its pickle is of protocol {argument}, as PyTorch never writes it")


def _check(declared: Any, expected: Weights) -> None:
    """Refuse tensors that are not those of the network."""
    if not isinstance(declared, dict):
        raise ValueError("policy.pth in it holds no weights")
    for name in [*expected, *declared]:
        if name not in expected or name not in declared:
            where = "the recipe's network" if name in expected else "the file"
            raise ValueError(f"its weights do not fit the recipe: only {where} has {name!r}")
    for name, tensor in expected.items():
        found, wanted = _described(declared[name]), _described(tensor)
        if found != wanted:
            raise ValueError(f"{name} is {found} in it, and {wanted} in the recipe's network")


def _described(value: Any) -> str:
    if type(value) is not th.Tensor:
        return f"a {type(value).__name__}"
    return f"{'x'.join(map(str, value.shape)) or 'one number'} of {value.dtype}"


def _set_up(model: Any) -> None:
    """As SB3 does, with a replay of one step; the recipe's values stay written down."""
    kept = {name: getattr(model, name) for name in ("buffer_size", "optimize_memory_usage")}
    model.buffer_size, model.optimize_memory_usage = 1, False
    model._setup_model()
    for name, value in kept.items():
        setattr(model, name, value)
