"""A task on another machine: it runs there, and its run folder comes back where disks are apart."""

from __future__ import annotations

import io
import secrets
import tarfile
from dataclasses import dataclass
from pathlib import Path

from custom.fanout.task import Process, Task

STAYS = ("tensorboard", "videos", "wandb")  # of a run folder


@dataclass(frozen=True)
class Outcome:
    """What comes back.

    :param run: path of its run folder there
    :param files: that folder as a tar file; empty: it lies on a disk that both have
    """

    status: int
    run: str = ""
    files: bytes = b""


def run_task(task: Task, mark: str) -> Outcome:
    """Run a task here and wait for its end.

    :param mark: a file that is here, too, where the disk is shared
    """
    if task.log:
        task.log.parent.mkdir(parents=True, exist_ok=True)
    process = Process(task)
    try:
        status = process.wait()
    except BaseException:
        process.stop()
        process.end()
        raise
    if status or Path(mark).exists() or not task.log:
        return Outcome(status)
    last = task.log.read_text(errors="replace").splitlines()[-1]
    run = Path(last.removeprefix("Run: "))
    return Outcome(status, str(run), _packed(run)) if run.is_dir() else Outcome(status)


def unpack(outcome: Outcome) -> None:
    """Put a run folder that came back where it was there, unless it is here."""
    folder = Path(outcome.run)
    if not outcome.files or folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(outcome.files)) as archive:
        archive.extractall(folder.parent, filter="data")


def shared_mark(folder: Path) -> Path:
    """A file by which other machines see that they have this disk."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder.absolute() / f".shared-{secrets.token_hex(8)}"
    mark.touch()
    return mark


def _packed(run: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path in sorted(run.iterdir()):
            if path.name not in STAYS:
                archive.add(path, f"{run.name}/{path.name}")
    return made.getvalue()
