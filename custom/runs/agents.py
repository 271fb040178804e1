"""Agents in files: saved whole, refused where a number is not finite, loaded without their code.

Anybody may have written an agent's file, and SB3's own `load` unpickles its `data`, which can run
any code. Here the network is built from the run's checked recipe, and from the file come only
tensors that fit it and a few plain numbers. Before PyTorch reads them, on an allow-list of its own,
everything is looked at without memory being taken: what the file declares against what the recipe's
network has.
"""

import copy
import inspect
import io
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Annotated, Any, cast

import torch as th
from pydantic import BaseModel, Field
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.dqn.policies import DQNPolicy

from custom.env.games import make_games
from custom.learner.nan_guard import non_finite_parameter
from custom.learner.off_policy import TRAINING_ONLY, AtariOffPolicy
from custom.recipe.classes import PLAYERS, resolve
from custom.recipe.model import Share
from custom.runs.folder import Run
from custom.system.errors import NonFiniteError, UserError, one_line
from custom.system.files import atomic_file

MOST_BYTES = 2**30  # of a file; the largest recipe's agent has 0.56e9 with its optimizer
MOST_DATA = 2**26
MOST_VALUES = 200_000  # of the JSON in it, each of which takes up to 100 bytes
MEMBER = b"PK\x01\x02"  # in the directory at an archive's end
MOST_MEMBERS = 1000
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
PROTOCOL = 2  # of pickles, in PyTorch's files
MOST_PICKLE = 2**20  # names, shapes and strides of all tensors
RECORD = re.compile(r"(?P<root>[^/]+)/(?P<name>data\.pkl|data/\d+|version|byteorder)")
CALLED = {  # by a pickle that holds tensors only
    "collections OrderedDict",
    *(f"torch {kind}Storage" for kind in ("Float", "Double", "Long", "Bool")),
    "torch._utils _rebuild_tensor_v2",
}
Weights = dict[str, th.Tensor]


def save_agent(model: BaseAlgorithm, path: Path) -> None:
    """Save an agent whole or not at all, so that SB3 loads it without this project.

    :raises NonFiniteError: a parameter is NaN or infinite; nothing is written
    """
    bad = non_finite_parameter(model.policy)
    if bad:
        raise NonFiniteError(f"{path.name} is not saved: {bad} has a value that is not finite")
    made = io.BytesIO()  # into a file PyTorch says of a full disk what nobody understands
    save = model.save_for_sb3 if isinstance(model, AtariOffPolicy) else model.save
    save(made)
    with atomic_file(path) as file:
        file.write(made.getbuffer())


def action_values(model: BaseAlgorithm, obs: th.Tensor) -> th.Tensor:
    """Values of all actions, (B, A), for observations as the replay holds them."""
    policy = model.policy
    if isinstance(policy, QRDQNPolicy):
        quantiles: th.Tensor = policy.quantile_net(obs)
        return quantiles.mean(dim=1)
    assert isinstance(policy, DQNPolicy)
    values: th.Tensor = policy.q_net(obs)
    return values


def load_agent(run: Run, file: Path, device: str = "auto") -> BaseAlgorithm:
    """An agent to play with; its replay is not allocated, and nothing in its file is unpickled.

    :raises UserError: the file is damaged or does not fit the run
    """
    try:
        return safe_agent(run, file, device)
    except Exception as error:  # whatever a broken archive makes zip, SB3 or torch raise
        hint = "try ARGS='--model best', or train again"
        raise UserError(f"{file}: cannot be loaded ({one_line(error)}); {hint}") from None


def _opened(content: bytes) -> zipfile.ZipFile:
    """A zip archive in memory; its members are read by their exact names, and never unpacked.

    :raises ValueError: not a zip, too many members, or two of one name
    """
    if content.count(MEMBER) > MOST_MEMBERS:  # before zipfile makes an object of each
        raise ValueError(f"has more than {MOST_MEMBERS} members")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # whatever a broken directory makes zipfile raise
        raise ValueError(f"is no zip archive, or a damaged one ({error})") from None
    if len(set(archive.namelist())) < len(archive.namelist()):
        raise ValueError("has two members of the same name")
    return archive


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member's bytes; its size is checked, not believed.

    :raises ValueError: not there, larger than `limit`, or damaged
    """
    if name not in archive.namelist():
        raise ValueError(f"has no {name}")
    member = archive.getinfo(name)
    if member.file_size > limit:
        raise ValueError(f"{name} in it has {member.file_size:,} bytes, of {limit:,} allowed")
    if member.compress_type not in METHODS:
        raise ValueError(f"{name} in it is compressed in an unusual way")
    try:
        with archive.open(member) as file:
            content = file.read(member.file_size)  # and no more, whatever it unpacks to
    except Exception as error:  # whatever damaged bytes make zipfile and zlib raise
        raise ValueError(f"{name} in it is damaged ({error})") from None
    if len(content) != member.file_size:
        raise ValueError(f"{name} in it is not as large as the archive says")
    return content


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
    archive = _opened(file.read_bytes())
    numbers = _numbers(_member(archive, "data", MOST_DATA))
    model = _without_policy(run, device)
    expected = _expected(model)
    size = sum(tensor.numel() * tensor.element_size() for tensor in expected.values())
    if size > MOST_BYTES:
        raise ValueError(f"the recipe's network has {size:,} bytes, of {MOST_BYTES:,} allowed")
    limit = 2 * size + MOST_PICKLE  # room for other layouts
    weights = _weights(_member(archive, "policy.pth", limit + MOST_PICKLE), expected, limit)
    _set_up(model)
    model.policy.load_state_dict(weights)
    vars(model).update(numbers)
    assert isinstance(model, BaseAlgorithm)
    return model


def _numbers(content: bytes) -> dict[str, Any]:
    """The plain numbers of an SB3 file's `data`; what is pickled in it stays the text it is."""
    if sum(map(content.count, (b"[", b"{", b","))) > MOST_VALUES:
        raise ValueError(f"data in it has more than {MOST_VALUES:,} values")
    try:
        numbers = Numbers.model_validate_json(content, strict=True)
    except ValueError as error:
        raise ValueError(f"data in it: {one_line(error)}") from None
    return numbers.model_dump(by_alias=True, exclude_unset=True)


def _without_policy(run: Run, device: str) -> Any:
    """SB3's algorithm with the recipe's values and the game's spaces, not set up yet."""
    values, cls = resolve(run.hyperparams), cast(Any, PLAYERS[run.facts["algo"]])
    names = set(inspect.signature(cls).parameters) - {"policy", "replay_buffer_class"}
    if run.hyperparams.replay_buffer_class:  # training's alone
        names -= {"replay_buffer_kwargs"}
    arguments = {name: values[name] for name in names & set(values)}
    rate = run.hyperparams.learning_rate
    if isinstance(rate, str):
        arguments["learning_rate"] = float(rate.removeprefix("lin_"))
    network = arguments.get("policy_kwargs", {})
    if str(getattr(network.get("optimizer_class"), "__module__", "")).startswith("custom."):
        network = {name: network[name] for name in network if name not in TRAINING_ONLY}
        arguments["policy_kwargs"] = network
    model = cls(values["policy"], None, _init_setup_model=False, device=device, **arguments)
    env = make_games(run.game, run.hyperparams, n_envs=1, seed=0)
    env.close()
    model.observation_space, model.action_space = env.observation_space, env.action_space
    model.n_envs = 1
    return model


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


def _weights(content: bytes, expected: Weights, limit: int) -> Weights:
    """The tensors of a ``.pth``, which have the names, shapes and types that are expected."""
    try:
        records = _records(_opened(content), limit)
    except ValueError as error:
        raise ValueError(f"policy.pth in it: {error}") from None
    _check(th.load(records, map_location="meta", weights_only=True), expected)
    records.seek(0)
    weights: Weights = th.load(records, map_location="cpu", weights_only=True)
    for name, tensor in weights.items():
        if not th.isfinite(tensor).all():
            raise ValueError(f"{name} has a value that is not finite")
    return weights


def _records(archive: zipfile.ZipFile, limit: int) -> io.BytesIO:
    """The archive written anew, with nothing in it but what was looked at.

    PyTorch has a zip reader of its own, which could see another archive in the same bytes.
    """
    clean, left = io.BytesIO(), limit
    with zipfile.ZipFile(clean, "w") as target:
        for member in archive.infolist():
            path = member.filename
            match = RECORD.fullmatch(path)
            if match is None:
                continue
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path} is compressed, as PyTorch never writes it")
            record = _member(archive, path, MOST_PICKLE if path.endswith(".pkl") else left)
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
        found, wanted = _described(declared.get(name)), _described(expected.get(name))
        if found != wanted:
            raise ValueError(f"{name} is {found} in it, and {wanted} in the recipe's network")


def _described(value: Any) -> str:
    if type(value) is not th.Tensor:
        return "missing" if value is None else f"a {type(value).__name__}"
    return f"{'x'.join(map(str, value.shape)) or 'one number'} of {value.dtype}"


def _set_up(model: Any) -> None:
    """As SB3 does, with a replay of one step; the recipe's values stay written down."""
    kept = {name: getattr(model, name) for name in ("buffer_size", "optimize_memory_usage")}
    model.buffer_size, model.optimize_memory_usage = 1, False
    model._setup_model()
    for name, value in kept.items():
        setattr(model, name, value)
