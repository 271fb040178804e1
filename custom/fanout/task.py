"""A command and what it needs; where it runs is the launcher's matter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Resources:
    """What one task takes.

    :param cpus: cores; PyTorch gets as many threads
    :param gpus: a share of one, for several tasks on it
    :param memory_gb: 0: not asked for
    """

    cpus: int = 1
    gpus: float = 0.0
    memory_gb: float = 0.0


@dataclass(frozen=True)
class Task:
    """One process.

    :param name: what it is called in lines for the user
    :param module: of this project, started as ``python -m``
    :param arguments: of the command line, which every user of the machine can see
    :param stdin: what nobody else is to see
    :param stdin_file: a file with that instead; it is deleted once it was read
    :param files: path and text of what it reads, for machines that do not have it
    :param log: file that takes what it prints, behind what is there
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    stdin: str = ""
    stdin_file: str = ""
    files: tuple[tuple[str, str], ...] = ()
    log: Path | None = None
    resources: Resources = field(default_factory=Resources)


class Handle(Protocol):
    """A task that was started."""

    def status(self) -> int | None:
        """Its exit status; negative: the signal that ended it; None: it still runs."""

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does."""

    def end(self, seconds: float) -> None:
        """Wait for its end for so long; then end it."""


class Launcher(Protocol):
    """Where tasks run."""

    def start(self, task: Task) -> Handle:
        """Start a task, or queue it."""


def environment(task: Task) -> dict[str, str]:
    """Of a task's process: no more threads than it was given cores."""
    threads = str(max(task.resources.cpus, 1))
    return {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


def command_of(task: Task) -> list[str]:
    """What starts a task."""
    me = str(os.getpid())
    return [sys.executable, "-m", "custom.fanout.child", me, task.module, *task.arguments]


class Process:
    """A task on this machine."""

    def __init__(self, task: Task) -> None:
        if task.log:
            task.log.parent.mkdir(parents=True, exist_ok=True)
        log = open(task.log, "ab") if task.log else None  # noqa: SIM115  # the process has it
        try:
            self._process = subprocess.Popen(
                command_of(task),
                cwd=ROOT,
                env=environment(task),
                stdin=subprocess.PIPE,
                stdout=log or subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us alone; we pass it on
            )
        finally:
            if log:
                log.close()
        assert self._process.stdin is not None
        text = task.stdin
        if task.stdin_file:
            text = Path(task.stdin_file).read_text()
            Path(task.stdin_file).unlink()
        self._process.stdin.write(text.encode())
        self._process.stdin.close()

    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def end(self, seconds: float) -> None:
        """Wait for its end for so long, then end it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ThisMachine:
    """Tasks as processes of this machine."""

    def start(self, task: Task) -> Handle:
        """Start it now."""
        return Process(task)
