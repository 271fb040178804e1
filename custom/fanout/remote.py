"""A task on another machine: it runs there, and its run folder comes back where disks are apart."""

from __future__ import annotations

import atexit
import io
import secrets
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from custom.fanout.loop import PATIENCE
from custom.fanout.task import Process, Task
from custom.runs import claim_folder

POLL = 0.2  # seconds
KILLED = -9  # status of a task whose worker has gone
STAYS = ("tensorboard", "videos", "wandb")  # of a run folder


@dataclass(frozen=True)
class Outcome:
    """What comes back.

    :param said: what it printed; empty: it lies on a disk that both have
    :param run: path of its run folder there
    :param files: that folder as a tar file; empty: it lies on a disk that both have
    """

    status: int
    said: str = ""
    run: str = ""
    files: bytes = b""


def run_task(task: Task, mark: str) -> Outcome:
    """Run a task here and wait for its end; a cancelled one is stopped as by Ctrl-C.

    :param mark: a file that is here, too, where the disk is shared; the task ends when it has gone
    """
    is_shared = Path(mark).exists()
    for name, text in task.files:
        if not Path(name).exists():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
    process = Process(task)
    try:
        while (status := process.status()) is None:
            time.sleep(POLL)  # not wait(), which no cancellation reaches
            if is_shared and not Path(mark).exists():
                process.stop()
                process.end(PATIENCE)
    except BaseException:
        process.stop()
        process.end(PATIENCE)
        raise
    if is_shared or task.log is None or not task.log.is_file():
        return Outcome(status)
    said = task.log.read_text(errors="replace")
    run = Path((said.splitlines() or [""])[-1].removeprefix("Run: "))
    if status == 0 and (run / "run.json").is_file():
        return Outcome(status, said, str(run), _packed(run))
    return Outcome(status, said)


def unpack(task: Task, outcome: Outcome) -> None:
    """Put down here what came back: what the task said, and its run under a number that is free."""
    if task.log is not None and outcome.said:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        task.log.write_text(outcome.said)
    if not outcome.files:
        return
    there = Path(outcome.run)
    name = there.name.rpartition("_")[0]
    there.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=there.parent, prefix=".") as folder:
        with tarfile.open(fileobj=io.BytesIO(outcome.files)) as archive:
            archive.extractall(folder, filter="data")
        (Path(folder) / there.name).rename(claim_folder(there.parent, name))


def shared_mark(folder: Path) -> Path:
    """A file by which other machines see that they have this disk."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder.absolute() / f".shared-{secrets.token_hex(8)}"
    mark.touch()
    atexit.register(mark.unlink, missing_ok=True)
    return mark


def _packed(run: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path in sorted(run.iterdir()):
            if path.name not in STAYS:
                archive.add(path, f"{run.name}/{path.name}")
    return made.getvalue()
