"""Agents that mean harm, pulled: nothing of theirs runs, and what is refused is told why.

Each attack makes a hostile repository of a sound one. What it would run is always the same: it
would create a file, the canary.
"""

from __future__ import annotations

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
from custom.runs.agents import load_agent
from custom.runs.folder import Run, open_run
from custom.runs.safe_agents import MOST_MEMBERS
from custom.system.errors import UserError
from tests.foreign import ENV, Files, unzipped, zipped
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
Attack = Callable[[Files, Path], Files]


class Payload:
    """What a victim runs who unpickles it."""

    def __init__(self, canary: Path) -> None:
        self.command = f"touch {canary}"

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def call(canary: Path) -> str:
    """Code that makes the canary."""
    return f"__import__('os').system('touch {canary}')"


def changed(archive: bytes, members: Files) -> bytes:
    """An archive with other members in it, or more of them."""
    return zipped({**unzipped(archive), **members})


def agent_with(**members: Callable[[bytes, Path], bytes]) -> Attack:
    """An attack that changes members of the agent's file."""

    def attack(files: Files, canary: Path) -> Files:
        inside = unzipped(files[AGENT])
        names = {"data": "data", "policy": "policy.pth"}
        new = {names[key]: change(inside[names[key]], canary) for key, change in members.items()}
        return {AGENT: changed(files[AGENT], new)}

    return attack


def config_with(*lines: str) -> Attack:
    """An attack by lines of ``config.yml``, in place of those of the same names."""

    def attack(_: Files, canary: Path) -> Files:
        names = {line.partition(":")[0] for line in lines}
        kept = [line for line in CONFIG if line.partition(":")[0] not in names]
        text = "\n".join([*kept, *lines]).replace("CODE", call(canary))
        return {"config.yml": text.replace("CANARY", str(canary)).encode()}

    return attack


def recipe_with(text: str) -> Attack:
    """An attack by this project's own ``recipe.yml``."""
    whole = f"{ENV}:\n  n_timesteps: 100\n  frame_stack: 4\n{text}"
    return lambda files, canary: {"recipe.yml": whole.replace("CANARY", str(canary)).encode()}


def replaced(name: str, content: bytes | Callable[[Path], bytes]) -> Attack:
    """An attack by another file."""
    return lambda files, canary: {name: content(canary) if callable(content) else content}


# --- data -----------------------------------------------------------------------------------------


def pickled_in_data(content: bytes, canary: Path) -> bytes:
    """Where SB3 keeps what JSON cannot hold."""
    text = base64.b64encode(pickle.dumps(Payload(canary))).decode()
    data = json.loads(content)
    for name in ("policy_class", "lr_schedule", "observation_space"):
        data[name] = {":type:": "<class 'x'>", ":serialized:": text}
    return json.dumps(data).encode()


def data_with(**values: Any) -> Attack:
    """An attack by plain values of SB3's `data`."""

    def change(content: bytes, _: Path) -> bytes:
        return json.dumps({**json.loads(content), **values}).encode()

    return agent_with(data=change)


# --- policy.pth -----------------------------------------------------------------------------------


def weights_of(content: bytes) -> dict[str, th.Tensor]:
    found: dict[str, th.Tensor] = th.load(io.BytesIO(content), weights_only=True)
    return found


def saved(weights: Any, **how: Any) -> bytes:
    made = io.BytesIO()
    th.save(weights, made, **how)
    return made.getvalue()


def pth(content: Any) -> bytes:
    """A ``.pth`` by hand, as PyTorch lays it out."""
    return zipped({"archive/data.pkl": pickle.dumps(content, 2), "archive/version": b"3\n"})


def huge(content: bytes, _: Path) -> bytes:
    """The first tensor is said to have 100 GB, of which four bytes are there."""
    weights = weights_of(content)
    return saved({**weights, next(iter(weights)): th.zeros(1).expand(25 * 10**9)})


def shortened(content: bytes, _: Path) -> bytes:
    """The first tensor's record is not as long as the tensor."""
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
    """A `data` of 100 MB in 100 kB."""

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


CNN = f"  {CONFIG[0]}\n  policy: CnnPolicy\n"
REFUSED: dict[str, tuple[Attack, str]] = {
    "pickle as policy.pth": (
        agent_with(policy=lambda _, canary: pickle.dumps(Payload(canary))),
        "policy.pth in it: is no zip archive",
    ),
    "pickle in policy.pth": (
        agent_with(policy=lambda _, canary: pth(Payload(canary))),
        "its pickle calls 'posix system', which no tensor needs",
    ),
    "newer pickle in policy.pth": (
        agent_with(
            policy=lambda _, canary: zipped({"a/data.pkl": pickle.dumps(Payload(canary), 4)})
        ),
        "its pickle is of protocol 4",
    ),
    "allowed call in policy.pth": (
        agent_with(policy=lambda *_: pth(Bytes())),
        "its pickle calls '__builtin__ bytearray'",
    ),
    "100 GB tensor": (
        agent_with(policy=huge),
        "is 25000000000 of torch.float32 in it",
    ),
    "tensor that is longer than its record": (
        agent_with(policy=shortened),
        "does not match expected size",
    ),
    "NaN": (agent_with(policy=with_nan), "has a value that is not finite"),
    "other tensors": (
        agent_with(policy=lambda *_: saved({"q_net.x": th.zeros(3)})),
        "is missing in it, and",
    ),
    "no tensors": (
        agent_with(policy=lambda content, _: saved(dict.fromkeys(weights_of(content), 1))),
        "is a int in it",
    ),
    "bomb in policy.pth": (agent_with(policy=compressed), "is compressed, as PyTorch never"),
    "bomb": (bomb(None), "data in it has 100,000,000 bytes, of 67,108,864 allowed"),
    "bomb that lies": (bomb(1000), "data in it is damaged"),
    "member that is shorter than it says": (
        lambda files, _: {AGENT: lying(files[AGENT], "data", 10**6)},
        "data in it is",
    ),
    "many values": (
        agent_with(data=lambda *_: b"[" + b"[]," * 10**6 + b"1]"),
        "data in it has more than 200,000 values",
    ),
    "deep values": (
        agent_with(data=lambda *_: b"[" * 10**5 + b"]" * 10**5),
        "data in it is no JSON",
    ),
    "steps as text": (
        data_with(num_timesteps="1"),
        "num_timesteps is .1.; Input",
    ),
    "epsilon": (data_with(exploration_rate=7), "exploration_rate is 7"),
    "two of a name": (twice, "has two members of the same name"),
    "path in the zip": (
        lambda files, _: {AGENT: changed(files[AGENT], {"../../evil": b""})},
        r"'../../evil', which leads out of its folder",
    ),
    "many members": (
        lambda files, _: {AGENT: zipped({str(i): b"" for i in range(MOST_MEMBERS + 1)})},
        "has more than 1000 members",
    ),
    "no zip": (replaced(AGENT, b"../../etc/passwd"), "is no zip archive"),
    "tag in config.yml": (
        replaced("config.yml", lambda c: f"!!python/object/apply:os.system ['touch {c}']".encode()),
        r"config.yml: line 1: the tag '!!python/object/apply:os.system' is refused",
    ),
    "tag in recipe.yml": (
        recipe_with(CNN + "  gamma: !!python/object/apply:os.system ['touch CANARY']\n"),
        r"recipe.yml: line 6: the tag '!!python/object/apply:os.system' is refused",
    ),
    "policy_kwargs": (config_with('policy_kwargs: "CODE"'), "which is not run"),
    "normalize": (config_with('normalize: "CODE"'), "normalize is .* needs a pickle"),
    "env_wrapper with arguments": (
        config_with("env_wrapper: {subprocess.run: {args: touch CANARY}}"),
        "env_wrapper is 'subprocess.run'",
    ),
    "callback": (config_with("callback: os.system"), "callback is 'os.system', which names code"),
    "policy": (config_with("policy: os.system"), "policy is 'os.system'"),
    "policy that a module would be run for": (
        config_with("policy: torch.utils.model_dump.__main__.X"),
        "there is no class 'torch.utils.model_dump.__main__.X'",
    ),
    "game of the arguments": (
        replaced("args.yml", b"{env: BreakoutNoFrameskip-v4}"),
        "args.yml: the agent's game is 'BreakoutNoFrameskip-v4'",
    ),
    "mode of the game": (
        replaced("args.yml", b"{env_kwargs: {mode: 1}}"),
        "the agent's game was made with {'mode': 1}",
    ),
    "wide convolutions": (
        recipe_with(
            CNN + "  policy_kwargs: {features_extractor_class: custom.networks.ConvNet,"
            " features_extractor_kwargs: {filters: [[80000, 1, 1]]}}\n"
        ),
        "the recipe's network has 2,312,113,583,152 bytes",
    ),
    "optimizer_class": (
        recipe_with(CNN + "  policy_kwargs: {optimizer_class: subprocess.Popen}\n"),
        "optimizer_class is 'subprocess.Popen'",
    ),
    "another game": (
        replaced("env_kwargs.yml", b"{frameskip: 4}"),
        "the agent's game was made with {'frameskip': 4}",
    ),
    "huge file": (
        replaced("config.yml", b"#" * (2**16 + 1)),
        "config.yml is of 65537 bytes; allowed: 65536",
    ),
    "another algorithm's recipe": (
        recipe_with("  algo: qrdqn\n" + CNN),
        "is of another algorithm than the agent",
    ),
    "recipe without the game": (
        replaced("recipe.yml", b"atari: {}"),
        f"holds no hyperparameters of {ENV}",
    ),
}


@pytest.fixture
def sound(zoo_agents: dict[str, Files]) -> Files:
    """A repository that means no harm."""
    return zoo_agents["dqn"]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What an attack would create."""
    return tmp_path / "canary"


def attacked(hub: Hub, sound: Files, attack: Attack, canary: Path) -> Run:
    """What a pull makes of a repository after an attack."""
    hub.add(REPO, {**sound, **attack(sound, canary)})
    return pull(client(), REPO, "", canary.parent / "logs")


def reserved() -> int:
    """The most memory that this process ever asked for, in bytes."""
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


def test_a_tag_in_the_arguments_is_not_run(hub: Hub, sound: Files, canary: Path) -> None:
    tag = f"!!python/object/apply:os.system ['touch {canary}']".encode()
    run = attacked(hub, sound, replaced("args.yml", tag), canary)
    assert load_agent(run, run.final_model, "cpu").num_timesteps == 200
    assert not canary.exists()


def test_what_is_pickled_in_the_data_is_never_opened_and_not_kept(
    hub: Hub, sound: Files, canary: Path
) -> None:
    attack = agent_with(data=pickled_in_data)
    (canary.parent / "hostile.zip").write_bytes(attack(sound, canary)[AGENT])
    payload = base64.b64encode(pickle.dumps(Payload(canary)))
    run = attacked(hub, sound, attack, canary)
    assert load_agent(run, run.final_model, "cpu").num_timesteps == 200
    assert not canary.exists()
    for path in run.path.rglob("*"):
        assert not path.is_file() or payload not in path.read_bytes()
    assert all(payload not in m for m in unzipped(run.final_model.read_bytes()).values())
    with pytest.raises(Exception, match=r"."):  # whatever follows, the payload has run
        DQN.load(canary.parent / "hostile.zip", device="cpu")
    assert canary.exists()


def test_a_huge_file_is_refused_before_it_is_fetched(hub: Hub, sound: Files, canary: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yml is"):
        attacked(hub, sound, REFUSED["huge file"][0], canary)
    assert not any("resolve" in path for _, path, _ in hub.requests)


def test_no_archive_writes_over_what_was_checked(hub: Hub, sound: Files, canary: Path) -> None:
    evil = {"config.yml": b"callback: os.system", f"{ENV}/config.yml": b"callback: os.system"}
    evil |= {"run.json": b"{}"}

    def attack(files: Files, _: Path) -> Files:
        return {AGENT: changed(files[AGENT], evil)}

    plain = attacked(hub, sound, lambda *_: {}, canary)
    run = attacked(hub, sound, attack, canary)
    for name in ("recipe.yml", f"{ENV}/config.yml", f"{ENV}/args.yml"):
        assert (run.path / name).read_bytes() == (plain.path / name).read_bytes()


def test_a_copied_run_folder_cannot_ask_for_pickle(hub: Hub, sound: Files, canary: Path) -> None:
    run = attacked(hub, sound, lambda *_: {}, canary)
    run.update(trusted=True)
    run.final_model.write_bytes(agent_with(data=pickled_in_data)(sound, canary)[AGENT])
    copied = open_run(run.path)
    assert load_agent(copied, copied.final_model, "cpu").num_timesteps == 200
    assert not canary.exists()


@pytest.mark.parametrize("repo", ["../../x", "../x", "a/../b", "/etc/passwd", "a/b/c", "x", "a/.."])
def test_a_name_that_is_no_repository_is_refused(repo: str, hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="write REPO=user/name"):
        pull(client(), repo, "", tmp_path / "logs")
    assert hub.requests == []
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dqn-EvilNoFrameskip-v4.zip", "GAME 'EvilNoFrameskip-v4' is unknown"),
        ("dqn-..zip", "needs one agent|GAME"),
        ("dqn-pong.zip", "is not named after an environment, as PongNoFrameskip-v4"),
        ("dqn-Pong-v4.zip", "is not a version that is trained here"),
    ],
)
def test_an_unknown_game_is_refused(name: str, reason: str, hub: Hub, tmp_path: Path) -> None:
    hub.add(REPO, {name: b"", "config.yml": b""})
    with pytest.raises(UserError, match=reason):
        pull(client(), REPO, "", tmp_path / "logs")
