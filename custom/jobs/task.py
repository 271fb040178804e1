"""A command with the resources that it needs, its process, and as many as there are slots."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from custom.system.console import say

CHILD = Path(__file__).with_name("child.py")
PATIENCE = 300.0  # seconds in which stopped tasks save their state
POLL = 1.0  # seconds between two looks at what runs
LINE_EVERY = 60.0  # seconds between two reports of it


@dataclass(frozen=True)
class Resources:
    """What one task takes.

    :param cpus: cores; PyTorch gets as many threads
    :param gpus: a fraction lets several tasks share a GPU
    :param memory_gb: 0: any
    """

    cpus: int = 1
    gpus: float = 0.0
    memory_gb: float = 0.0


@dataclass(frozen=True)
class Task:
    """One process.

    :param name: for messages
    :param module: of this project, started as ``python -m``
    :param arguments: of the command line, which every user of the machine can see
    :param stdin: input that other users must not see
    :param log: file to which its output is appended
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    stdin: str = ""
    log: Path | None = None
    resources: Resources = field(default_factory=Resources)


class Handle(Protocol):
    """A started task."""

    def status(self) -> int | None:
        """Its exit status; negative: the signal that ended it; None: it still runs."""

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does."""

    def end(self, seconds: float) -> None:
        """Wait so long for its end, then kill it."""


Launcher = Callable[[Task], Handle]  # starts a task, or queues it


class Process:
    """A task as a process of this machine."""

    def __init__(self, task: Task) -> None:
        threads = str(max(task.resources.cpus, 1))
        command = (sys.executable, CHILD, str(os.getpid()), task.module)
        if task.log:
            task.log.parent.mkdir(parents=True, exist_ok=True)
        with open(task.log or os.devnull, "ab") as log:
            self._process = subprocess.Popen(
                [*command, *task.arguments],
                env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C goes to the parent, which stops it
            )
        assert self._process.stdin is not None
        self._process.stdin.write(task.stdin.encode())
        self._process.stdin.close()

    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def end(self, seconds: float) -> None:
        """Wait so long for its end, then kill it."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _tell(task: Task) -> None:
    """Print the last line of a task's log, which says how far it is."""
    if task.log and task.log.is_file():
        for line in task.log.read_text(errors="replace").splitlines()[-1:]:
            say(f"{task.name}: {line.partition('; Ctrl-C')[0]} ({task.log})")


def run_all(
    launch: Launcher,
    slots: int,
    next_task: Callable[[], Task | None],
    ended: Callable[[Task, int], None],
    is_over: Callable[[], bool],
) -> None:
    """Start a task whenever a slot is free, until nothing is left.

    An exception, Ctrl-C for one, stops the tasks after they have saved their state.

    :param next_task: the next to start; None: none at this moment
    :param ended: called with each task that ended and its exit status
    :param is_over: whether nothing will be left to start once no task runs
    """
    running: list[tuple[Task, Handle]] = []
    told_at = time.monotonic()
    try:
        while True:
            for pair in list(running):
                task, handle = pair
                if (status := handle.status()) is not None:
                    running.remove(pair)
                    ended(task, status)
            while len(running) < slots and (task_now := next_task()) is not None:
                running.append((task_now, launch(task_now)))
                say(f"{task_now.name}: its output is in {task_now.log}")
            if not running and is_over():
                return
            time.sleep(POLL)
            if time.monotonic() - told_at > LINE_EVERY:
                told_at = time.monotonic()
                for task, _ in running:
                    _tell(task)
    except (KeyboardInterrupt, SystemExit):
        say("stopping; the same command resumes")
        raise
    finally:
        for _, handle in running:
            handle.stop()
        end = time.monotonic() + PATIENCE
        for _, handle in running:
            handle.end(max(end - time.monotonic(), 0.0))
