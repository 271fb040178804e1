"""A task on another machine. Without a shared disk its run folder is sent back."""

from __future__ import annotations

import atexit
import io
import secrets
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from custom.jobs.task import PATIENCE, POLL, Process, Task
from custom.runs.folder import claim_folder
from custom.system.console import say

KILLED = -9  # status of a task whose worker died
NOT_SENT = ("tensorboard", "videos", "wandb")  # of a run folder


@dataclass(frozen=True)
class Outcome:
    """How a task ended. What follows is empty if the disk is shared.

    :param output: what it printed
    :param run: path of its run folder on that machine
    :param files: that folder as a tar file
    """

    status: int
    output: str = ""
    run: str = ""
    files: bytes = b""


class RemoteHandle:
    """A task on a cluster.

    :param job: of its `Outcome`, with `done`, `exception` and `result` as a `Future` has them
    :param cancel: stops the job; with True it kills it
    """

    def __init__(self, task: Task, job: Any, cancel: Callable[[bool], object]) -> None:
        self._task = task
        self._job = job
        self._cancel = cancel

    def status(self) -> int | None:
        """Its exit status, `KILLED` if its worker died, None while it runs."""
        if not self._job.done():
            return None
        if error := self._job.exception():
            say(f"{self._task.name}: {' '.join(str(error).split())[:200]}")
            return KILLED
        outcome: Outcome = self._job.result()
        unpack(self._task, outcome)
        return outcome.status

    def stop(self) -> None:
        """Ask it to end."""
        self._cancel(False)

    def end(self, seconds: float) -> None:
        """Wait so long for its end, then kill it."""
        end = time.monotonic() + seconds
        while not self._job.done():
            if time.monotonic() > end:
                self._cancel(True)
                return
            time.sleep(POLL)


def run_task(task: Task, mark: str) -> Outcome:
    """Run a task on this machine and wait for its end; a cancelled one is stopped as by Ctrl-C.

    :param mark: a `shared_mark`
    """
    for name, text in task.files:
        if not Path(name).exists():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
    process = Process(task)
    try:
        while (status := process.status()) is None:
            time.sleep(POLL)  # a cancellation interrupts it; Popen.wait() would not notice
    except BaseException:
        process.stop()
        process.end(PATIENCE)
        raise
    if Path(mark).exists() or task.log is None:
        return Outcome(status)
    output = task.log.read_text(errors="replace")
    run = Path(output.rstrip("\n").rpartition("\n")[2].removeprefix("Run: "))
    if status or not (run / "run.json").is_file():
        return Outcome(status, output)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in run.iterdir():
            if path.name not in NOT_SENT:
                archive.add(path, path.name)
    return Outcome(status, output, str(run), packed.getvalue())


def unpack(task: Task, outcome: Outcome) -> None:
    """Write what a machine without a shared disk sent: the log, and the run with a free number."""
    if task.log is not None and outcome.output:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        task.log.write_text(outcome.output)
    if not outcome.files:
        return
    parent, name = Path(outcome.run).parent, Path(outcome.run).name
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent, prefix=".") as folder:
        with tarfile.open(fileobj=io.BytesIO(outcome.files)) as archive:
            archive.extractall(f"{folder}/run", filter="data")
        Path(folder, "run").rename(claim_folder(parent, name.rpartition("_")[0]))


def shared_mark(folder: Path) -> Path:
    """A file that another machine sees if the disk is shared; removed when this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder.absolute() / f".shared-{secrets.token_hex(8)}"
    mark.touch()
    atexit.register(mark.unlink, missing_ok=True)
    return mark
