"""Agents that mean harm, pulled: nothing of theirs runs, and what is refused is told why.

Each attack makes a hostile repository of a sound one. What it would run is always the same: it
would create a file, the canary.
"""

import base64
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch as th
from stable_baselines3 import DQN

from custom.hub.client import client
from custom.hub.pull import pull
from custom.runs.agents import MOST_MEMBERS, load_agent
from custom.runs.folder import Run
from custom.system.errors import UserError
from tests.foreign import ENV, Files, Zoo, changed, saved, unzipped, weights_of, zipped
from tests.servers.hub import Hub

REPO = "tester/dqn-Pong"
AGENT = f"dqn-{ENV}.zip"
GIB = 2**30
CONFIG = (
    "env_wrapper: stable_baselines3.common.atari_wrappers.AtariWrapper",
    "frame_stack: 4",
    "n_timesteps: 100",
    "policy: CnnPolicy",
    'policy_kwargs: "dict(features_extractor_kwargs=dict(features_dim=32))"',
)
Attack, Change = Callable[[Files, Path], Files], Callable[[bytes, Path], bytes]


class Payload:
    def __init__(self, canary: Path) -> None:
        self.command = f"touch {canary}"

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def call(canary: Path) -> str:
    return f"__import__('os').system('touch {canary}')"


def inside(name: str, change: Change) -> Attack:
    """An attack by a member of the agent's file."""

    def attack(files: Files, canary: Path) -> Files:
        member = unzipped(files[AGENT])[name]
        return {AGENT: changed(files[AGENT], {name: change(member, canary)})}

    return attack


def file_with(name: str, text: str) -> Attack:
    return lambda _, canary: {
        name: text.replace("CODE", call(canary)).replace("CANARY", str(canary)).encode()
    }


def config_with(line: str) -> Attack:
    kept = [known for known in CONFIG if known.split(":")[0] != line.split(":")[0]]
    return file_with("config.yml", "\n".join([*kept, line]))


def pickled_in_data(content: bytes, canary: Path) -> bytes:
    """Where SB3 keeps what JSON cannot hold."""
    text = base64.b64encode(pickle.dumps(Payload(canary))).decode()
    data = json.loads(content)
    for name in ("policy_class", "lr_schedule", "observation_space"):
        data[name] = {":type:": "<class 'x'>", ":serialized:": text}
    return json.dumps(data).encode()


def pth(content: bytes) -> bytes:
    return zipped({"archive/data.pkl": content, "archive/version": b"3\n"})


def huge(content: bytes, _: Path) -> bytes:
    """The first tensor is said to have 100 GB, of which four bytes are there."""
    weights = weights_of(content)
    return saved({**weights, next(iter(weights)): th.zeros(1).expand(25 * 10**9)})


def shortened(content: bytes, _: Path) -> bytes:
    members = unzipped(content)
    [name] = (name for name in members if name.endswith("/data/0"))
    return zipped({**members, name: members[name][:100]})


def with_nan(content: bytes, _: Path) -> bytes:
    weights = weights_of(content)
    next(iter(weights.values())).view(-1)[7] = float("nan")
    return saved(weights)


class Bytes:
    """100 GB of zeros, by a call that PyTorch's own allow-list lets pass."""

    def __reduce__(self) -> Any:
        return bytearray, (100 * 10**9,)


def compressed(content: bytes, _: Path) -> bytes:
    return zipped({**unzipped(content), "archive/data/0": bytes(10**8)}, zipfile.ZIP_DEFLATED)


def lying(archive: bytes, name: str, size: int) -> bytes:
    """An archive that says that a member has another size, in both of its directories."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        offset, directory = opened.getinfo(name).header_offset, opened.start_dir
    made = bytearray(archive)
    central = made.index(name.encode(), directory) - 46
    struct.pack_into("<L", made, offset + 22, size)
    struct.pack_into("<L", made, central + 24, size)
    return bytes(made)


def bomb(declared: int | None) -> Attack:
    def attack(files: Files, _: Path) -> Files:
        members = {**unzipped(files[AGENT]), "data": bytes(10**8)}
        archive = zipped(members, zipfile.ZIP_DEFLATED)
        return {AGENT: lying(archive, "data", declared) if declared else archive}

    return attack


def twice(files: Files, _: Path) -> Files:
    made = io.BytesIO(files[AGENT])
    with zipfile.ZipFile(made, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("data", b"{}")
    return {AGENT: made.getvalue()}


def crowded(*_: object) -> Files:
    return {AGENT: zipped({str(i): b"" for i in range(MOST_MEMBERS + 1)})}


RECIPE = f"{ENV}:\n  {CONFIG[0]}\n  policy: CnnPolicy\n  n_timesteps: 100\n  frame_stack: 4\n"
WIDE = "{features_extractor_class: custom.networks.ConvNet, features_extractor_kwargs: "
WIDE += "{filters: [[80000, 1, 1]]}}"
TAG = "!!python/object/apply:os.system ['touch CANARY']"
WEIGHTS: dict[str, tuple[Change, str]] = {  # policy.pth in the agent's file
    "pickle": (lambda _, canary: pickle.dumps(Payload(canary)), "policy.pth in it: is no zip arch"),
    "zipped pickle": (lambda _, canary: pth(pickle.dumps(Payload(canary), 2)), "'posix system'"),
    "newer pickle": (lambda _, canary: pth(pickle.dumps(Payload(canary), 4)), "is of protocol 4"),
    "allowed call": (lambda *_: pth(pickle.dumps(Bytes(), 2)), "calls '__builtin__ bytearray'"),
    "100 GB tensor": (huge, "is 25000000000 of torch.float32 in it"),
    "too short a record": (shortened, "does not match expected size"),
    "NaN": (with_nan, "has a value that is not finite"),
    "other tensors": (lambda *_: saved({"q.x": th.zeros(3)}), "is missing in it"),
    "no tensors": (lambda pth, _: saved(dict.fromkeys(weights_of(pth), 1)), "is a int in it"),
    "compressed": (compressed, "is compressed, as PyTorch never"),
}
DATA: dict[str, tuple[bytes, str]] = {  # `data` in the agent's file
    "many values": (b"[" + b"[]," * 10**6 + b"1]", "data in it has more than 200,000 values"),
    "deep values": (b"[" * 10**5 + b"]" * 10**5, "data in it: .*recursion"),
    "epsilon": (b'{"exploration_rate": 7}', "data in it: .*exploration_rate Input should be less"),
}
FILES = {
    ("config.yml", TAG): "config.yml: line 1: the tag '!!python/object/apply:os.system' is refused",
    ("recipe.yml", f"{RECIPE}  gamma: {TAG}\n"): "recipe.yml: line 6: the tag '!!python/obj",
    ("config.yml", "#" * (2**16 + 1)): "config.yml is of 65537 bytes",
    ("args.yml", "{env: BreakoutNoFrameskip-v4}"): "args.yml: the agent's game is 'BreakoutNoFr",
    ("args.yml", "{env_kwargs: {mode: 1}}"): "made with {'mode': 1}",
    ("recipe.yml", f"{RECIPE}  policy_kwargs: {WIDE}\n"): "network has 2,312,113,583,152 bytes",
    ("recipe.yml", f"{RECIPE}  algo: qrdqn\n"): "is of another algorithm than the agent",
    ("recipe.yml", "atari: {}"): "holds no hyperparameters",
    (AGENT, "../../etc/passwd"): "is no zip archive",
}
REFUSED: dict[str, tuple[Attack, str]] = {
    "bomb": (bomb(None), "data in it has 100,000,000 bytes, of 67,108,864 allowed"),
    "bomb that lies": (bomb(1000), "data in it is damaged"),
    "two of a name": (twice, "has two members of the same name"),
    "many members": (crowded, "has more than 1000 members"),
}
REFUSED |= {name: (inside("policy.pth", made), reason) for name, (made, reason) in WEIGHTS.items()}
REFUSED |= {
    name: (inside("data", lambda *_, made=made: made), r) for name, (made, r) in DATA.items()
}
REFUSED |= {f"{name} {text[:9]}": (file_with(name, text), r) for (name, text), r in FILES.items()}
MODULE = "torch.utils.model_dump.__main__.X"  # to import it would be to run it
LINES = {  # of config.yml
    'policy_kwargs: "CODE"': "which is not run",
    "policy_kwargs: {optimizer_class: subprocess.Popen}": "optimizer_class is 'subprocess.Popen'",
    'normalize: "CODE"': "normalize is .* needs a pickle",
    "env_wrapper: {subprocess.run: {args: touch CANARY}}": "env_wrapper is 'subprocess.run'",
    "callback: os.system": "callback is not known here; it names code",
    "policy: os.system": "policy is 'os.system'",
    f"policy: {MODULE}": f"there is no class '{MODULE}'",
}
REFUSED |= {line: (config_with(line), reason) for line, reason in LINES.items()}


@pytest.fixture
def sound(zoo: Zoo) -> Files:
    return zoo["dqn"]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def attacked(hub: Hub, sound: Files, attack: Attack, canary: Path) -> Run:
    hub.add(REPO, {**sound, **attack(sound, canary)})
    return pull(client(), REPO, "", canary.parent / "logs")


def reserved() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmPeak:")[1].split()[0])


@pytest.mark.parametrize("name", REFUSED)
def test_an_attack_is_refused(name: str, hub: Hub, sound: Files, canary: Path) -> None:
    attack, reason = REFUSED[name]
    before = reserved()
    with pytest.raises(UserError, match=reason) as refusal:
        attacked(hub, sound, attack, canary)
    assert str(refusal.value).startswith(f"{REPO}: ")
    assert "\n" not in str(refusal.value)
    assert reserved() - before < GIB
    logs = canary.parent / "logs"
    assert not canary.exists()
    assert not logs.exists() or list(logs.iterdir()) == []
    assert "#####" not in name or not any("resolve" in path for path in hub.requests)


def test_what_is_pickled_in_data_is_neither_opened_nor_kept(
    hub: Hub, sound: Files, canary: Path
) -> None:
    hostile = inside("data", pickled_in_data)(sound, canary)
    hostile |= file_with("args.yml", TAG)(sound, canary)
    (canary.parent / "hostile.zip").write_bytes(hostile[AGENT])
    payload = base64.b64encode(pickle.dumps(Payload(canary)))
    run = attacked(hub, sound, lambda *_: hostile, canary)
    assert load_agent(run, run.final_model, "cpu").num_timesteps == 200
    assert not canary.exists()
    for path in run.path.rglob("*"):
        assert not path.is_file() or payload not in path.read_bytes()
    assert all(payload not in m for m in unzipped(run.final_model.read_bytes()).values())
    with pytest.raises(Exception, match=r"."):  # whatever follows, the payload has run
        DQN.load(canary.parent / "hostile.zip", device="cpu")
    assert canary.exists()


def test_no_archive_writes_over_what_was_checked(hub: Hub, sound: Files, canary: Path) -> None:
    evil = {"config.yml": b"callback: os.system", f"{ENV}/config.yml": b"callback: os.system"}
    evil |= {"run.json": b"{}", "../../canary": b"", "/canary": b""}

    def attack(files: Files, _: Path) -> Files:
        return {AGENT: changed(files[AGENT], evil)}

    plain = attacked(hub, sound, lambda *_: {}, canary)
    run = attacked(hub, sound, attack, canary)
    for name in ("recipe.yml", f"{ENV}/config.yml", f"{ENV}/args.yml"):
        assert (run.path / name).read_bytes() == (plain.path / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dqn-..zip", "needs one agent|GAME"),
        ("dqn-pong.zip", "must be named after its environment: PongNoFrameskip-v4"),
        ("dqn-Pong-v4.zip", "is unknown: did you mean Pong"),
    ],
)
def test_an_unknown_game_is_refused(name: str, reason: str, hub: Hub, tmp_path: Path) -> None:
    hub.add(REPO, {name: b"", "config.yml": b""})
    with pytest.raises(UserError, match=reason):
        pull(client(), REPO, "", tmp_path / "logs")
