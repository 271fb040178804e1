"""Uploads what did not reach W&B while it was trained; what is there already is not sent again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from custom.runs.folder import Run, open_runs
from custom.system.errors import UserError
from custom.tracking import client
from custom.tracking.files import (
    first_step,
    is_offline,
    is_sound,
    is_uploaded,
    mark_uploaded,
    unsent,
)
from custom.tracking.record_file import without_rows

PATIENCE = 600  # seconds for one stretch, films and agent included
BOUNDS = {  # of the client, which else asks for hours
    "WANDB_X_FILE_STREAM_RETRY_MAX": "4",
    "WANDB_X_FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "5",
    "WANDB_X_FILE_TRANSFER_RETRY_MAX": "4",
    "WANDB_X_GRAPHQL_RETRY_MAX": "4",
}


def all_runs(logs: Path, game: str = "", recipe: str = "") -> tuple[list[Run], list[str]]:
    """Every run below a folder, and what is wrong with folders that were tracked and are none."""
    runs, damaged = open_runs(logs, game, recipe)
    return runs, [text for folder, text in damaged.items() if (folder / "wandb").is_dir()]


def pending(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """Runs that have something to upload, and of these, apart, those that are still written."""
    waiting = [run for run in runs if unsent(run)]
    return [r for r in waiting if not r.is_locked()], [r for r in waiting if r.is_locked()]


def check() -> None:
    """Make sure that W&B takes uploads.

    :raises UserError: it does not
    """
    try:
        client.log_in()
    except Exception as error:
        raise UserError(f"{client.reason(error)}; nothing was uploaded") from None


def upload(run: Run) -> int:
    """Upload a run's stretches, in their order.

    :return: how many
    :raises UserError: not all of them arrived; the same command goes on later
    """
    with run.lock():  # another sync may have been faster
        files = unsent(run)
        for file in files:
            try:
                _upload(run, file)
            except Exception as error:
                raise UserError(f"RUN {run.path}: not uploaded ({client.reason(error)})") from None
        if files and not run.facts["wandb"].get("entity"):  # it was offline when it began
            run.update(wandb={**run.facts["wandb"], "entity": client.entity()})
    return len(files)


def _upload(run: Run, file: Path) -> None:
    """Upload what the server lacks of a stretch.

    The client puts all rows of a file behind those that are there; what had arrived stays out.
    """
    if not is_sound(file):
        raise client.RefusedError(f"{file} is damaged; delete its folder, no upload can mend it")
    seen, last = first_step(file), -1
    if seen is not None:
        last = client.last_step(address(run))
    if seen is None or last < seen:
        _send(run, file)
    else:
        before = seen if is_offline(file) else 0  # offline, a stretch counts from 0
        rest = file.with_name("rest.wandb")
        try:
            without_rows(file, rest, lambda step: before + step <= last)
            _send(run, rest)
        finally:
            for made in file.parent.glob("rest.wandb*"):
                made.unlink()
    mark_uploaded(file)


def _send(run: Run, file: Path) -> None:
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", "--yes", str(file)]
    try:
        done = subprocess.run(
            command,
            cwd=run.path,  # where the client also leaves its log
            env={**os.environ, **BOUNDS, "WANDB_MODE": "online", "WANDB_DIR": str(run.path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise client.RefusedError(f"no end after {PATIENCE // 60} minutes") from None
    if not is_uploaded(file):
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "WARN" in line]
        raise client.RefusedError(lines[-1] if lines else f"status {done.returncode}")


def address(run: Run) -> str:
    """``entity/project/id`` of a run on W&B, as far as it is known here."""
    known = run.facts.get("wandb", {})
    parts = (known.get("entity"), known.get("project"), known.get("id"))
    return "/".join(part for part in parts if part)
