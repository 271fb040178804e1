"""What W&B's client leaves in a run folder: a file for each stretch of a training.

``<run>/wandb/[offline-]run-<time>-<id>/run-<id>.wandb``, and beside it the client's own mark
``.wandb.synced`` once the server has it all, and ``.wandb.syncstate`` once it has seen some of it.
"""

from __future__ import annotations

import json
from pathlib import Path

from custom.runs.folder import Run

MAGIC = b":W&B"


def stretches(run: Run) -> list[Path]:
    """The files of all stretches, the first one first."""
    found = (run.path / "wandb").glob("*run-*/run-*.wandb")
    return sorted(found, key=lambda file: file.parent.name.removeprefix("offline-"))


def unsent(run: Run) -> list[Path]:
    """Those that the server does not have, or not all of."""
    return [file for file in stretches(run) if not is_uploaded(file)]


def is_uploaded(file: Path) -> bool:
    """Whether the server has all of a stretch, as the client or we have marked it."""
    return _mark(file).exists()


def is_sound(file: Path) -> bool:
    """Whether a stretch's file begins as the client writes it."""
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def mark_uploaded(file: Path) -> None:
    """The server has all of a stretch: neither ``make sync`` nor ``wandb sync`` sends it again."""
    _mark(file).touch()


def is_offline(file: Path) -> bool:
    """Whether a stretch was tracked without a server."""
    return file.parent.name.startswith("offline-")


def first_step(file: Path) -> int | None:
    """Rows that the server had before a stretch; None: it has seen nothing of it."""
    state = file.with_name(f"{file.name}.syncstate")
    if not state.is_file():
        return None
    return int(json.loads(state.read_text()).get("starting_step", 0))


def _mark(file: Path) -> Path:
    return file.with_name(f"{file.name}.synced")
