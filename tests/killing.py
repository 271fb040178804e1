"""Kills a training at a chosen write, or lets that write fail; the next process resumes it.

The layer is Python's: `open`, `os.replace` and the like are replaced in a forked process. Every
write, sync, rename, removal, truncation and new folder below a run folder is counted; those of
TensorBoard, which writes in a thread, are not.
"""

import builtins
import errno
import hashlib
import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch as th

from benchmarks.chaos import in_child, written
from custom.learner.engine import Engine
from custom.recipe.games import find_game
from custom.runs.folder import open_run
from custom.system.manifest import exists
from custom.training.prepare import Training, prepare
from custom.training.resume import resume
from custom.training.settings import Settings
from custom.training.train import train
from tests.conftest import small

CALLS = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "truncate")
NOISY = {"features_extractor_kwargs": {"features_dim": 32}, "noisy": True, "dueling": True}
RAINBOW = {"policy": "custom.policies.AtariPolicy", "policy_kwargs": {**NOISY, "n_atoms": 11}}
RAINBOW |= {"n_steps": 3, "prioritized_replay": {"alpha": 0.6, "beta": 0.4}, "double_q": True}
KINDS: dict[str, tuple[str, dict[str, Any], Engine]] = {
    "dqn": ("dqn", {}, Engine()),
    "rainbow": ("dqn", RAINBOW, Engine()),
    "qrdqn": ("qrdqn", {}, Engine()),
    "bf16": ("dqn", {}, Engine(precision="bf16")),
    "8 games": ("dqn", {"n_envs": 8, "train_freq": 1}, Engine(workers=1)),
}


@dataclass
class Disk:
    """What a process does to the files below a folder, until `act` happens at the call `at`.

    :param act: ``kill``; ``torn``: after half of a write; ``lost``: and what was not synced is
        gone; ``ENOSPC`` or ``EIO``: the call fails; with ``+``: and all that follow
    """

    folder: Path
    at: int = 0
    act: str = "kill"
    calls: list[str] = field(default_factory=list)
    synced: dict[int, int] = field(default_factory=dict)  # inode → size
    written: dict[int, str] = field(default_factory=dict)  # inode → path

    def counts(self, path: Any, dir_fd: int | None = None) -> bool:
        name = os.fsdecode(os.readlink(f"/proc/self/fd/{path}") if type(path) is int else path)
        if dir_fd is not None:
            name = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), name)
        name = os.path.abspath(name)
        return name.startswith(str(self.folder)) and "/tensorboard" not in name

    def call(self, name: str, path: Any) -> None:
        self.calls.append(f"{name} {path}")
        is_it, is_after = len(self.calls) == self.at, 0 < self.at < len(self.calls)
        number = getattr(errno, self.act.rstrip("+"), 0)
        if number and (is_it or (is_after and self.act.endswith("+"))):
            raise OSError(number, os.strerror(number), str(path))
        if is_it and not number:
            self.kill()

    def kill(self) -> None:
        for inode, path in self.written.items() if self.act == "lost" else ():
            if os.path.exists(path) and os.stat(path).st_ino == inode:
                with builtins_open(path, "r+b") as file:
                    os.ftruncate(file.fileno(), min(self.synced.get(inode, 0), file.seek(0, 2)))
        os.kill(os.getpid(), signal.SIGKILL)


builtins_open = builtins.open


class Raw(io.FileIO):
    disk: Disk

    def write(self, data: Any, /) -> int:
        disk, half = self.disk, memoryview(data).cast("B")[: len(memoryview(data).cast("B")) // 2]
        if disk.act == "torn" and len(disk.calls) + 1 == disk.at:
            super().write(half)
        disk.call("write", self.name)
        stat = os.fstat(self.fileno())
        disk.written[stat.st_ino] = str(self.name)
        disk.synced.setdefault(stat.st_ino, stat.st_size)  # of a file that was there before
        return super().write(data)


def watch(disk: Disk) -> None:
    sync = os.fsync

    def fsync(fd: int) -> None:
        if disk.counts(fd):
            disk.call("fsync", os.readlink(f"/proc/self/fd/{fd}"))
            disk.synced[os.fstat(fd).st_ino] = os.fstat(fd).st_size
        sync(fd)

    def watched(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def call(path: Any, *arguments: Any, **named: Any) -> Any:
            if disk.counts(path, named.get("dir_fd")):
                disk.call(name, path)
            if name in ("replace", "rename") and os.path.isfile(path):
                inode = os.stat(path).st_ino
                disk.written |= {inode: str(arguments[0])} if inode in disk.written else {}
            return original(path, *arguments, **named)

        return call

    def opened(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if type(file) is int or not set(mode) & set("wax+") or not disk.counts(file):
            return builtins_open(file, mode, *arguments, **named)
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        raw.disk = disk
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        names = {k: v for k, v in named.items() if k in ("encoding", "errors", "newline")}
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **names)

    os.fsync = fsync
    for name in CALLS:
        setattr(os, name, watched(name))
    io.open = builtins.open = opened  # type: ignore[assignment]


@dataclass(frozen=True)
class Case:
    kind: str
    logs: Path
    steps: int = 48

    @property
    def folder(self) -> Path:
        return self.logs / "small" / KINDS[self.kind][0] / "BreakoutNoFrameskip-v4_1"

    def train(self, at: int = 0, act: str = "kill") -> tuple[int, str]:
        algo, options, engine = KINDS[self.kind]
        recipe = small(algo, **{"n_timesteps": self.steps, "learning_starts": 8, **options})
        how = {"eval_freq": 24, "eval_episodes": 1, "save_freq": 16}
        settings = Settings(3, self.logs, "cpu", engine=engine, **how)
        disk = Disk(self.folder, at, act)
        watch(disk)
        training = prepare(recipe, find_game("Breakout"), settings)
        return self._end(training, disk)

    def resume(self) -> tuple[int, str]:
        return self._end(resume(open_run(self.folder), "cpu"), Disk(self.folder))

    def _end(self, training: Training, disk: Disk) -> tuple[int, str]:
        train(training)
        digest = hashlib.sha256()
        model: Any = training.model
        tensors = [model.replay_buffer.ring.frames, model.replay_buffer.facts]
        states = [model.policy.state_dict(), *model.policy.optimizer.state.values()]
        tensors += [v for state in states for _, v in sorted(state.items())]
        for tensor in tensors:
            data = th.atleast_1d(th.as_tensor(tensor)).contiguous().view(th.uint8)
            digest.update(data.numpy().tobytes())
        return len(disk.calls), digest.hexdigest() + written(open_run(self.folder))


def outcome(case: Case, whole: str, at: int, act: str) -> str:
    """What becomes of a training that is disturbed at a call: ``equal`` or ``nothing saved``."""
    result = in_child(lambda: case.train(at, act))
    first = result
    if not isinstance(result, tuple):
        result = in_child(case.resume)
    if isinstance(first, tuple):  # it went on: a file that could not be written may be missing
        return "equal" if first[1][:64] == whole[:64] else "another agent"
    if isinstance(result, tuple):
        return "equal" if result[1] == whole else f"another run after {first}"
    if "is finished" in str(result):
        return "equal" if written(open_run(case.folder)) == whole[64:] else "another finished run"
    if not exists(case.folder / "state"):
        return "nothing saved"
    return f"cannot be resumed after {first}: {result}"
