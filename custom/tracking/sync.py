"""Uploads runs that W&B does not have, or has only in part, by W&B's own ``wandb sync``."""

from __future__ import annotations

import subprocess
import sys

from custom.runs.folder import Run
from custom.system.errors import UserError
from custom.tracking import client
from custom.tracking.session import unsent


def check() -> None:
    """Check that W&B takes uploads.

    :raises UserError: it does not
    """
    try:
        client.log_in()
    except client.RefusedError as error:
        raise UserError(f"W&B: {error}; nothing was uploaded") from None


def upload(run: Run) -> list[str]:
    """Upload a run's files; the client shows how far it is.

    Rows that had arrived are sent again, with the same ``_step``.

    :return: the folders of files that were not uploaded as a whole
    """
    with run.lock():
        files = unsent(run)
        options = ["--include-online", "--yes"]
        paths = [str(file.resolve()) for file in files]
        command = [sys.executable, "-m", "wandb", "sync", *options, *paths]
        # It logs into the folder where it runs. Its status is always 0.
        subprocess.run(command, cwd=run.path, stdin=subprocess.DEVNULL, check=False)
        return [str(file.parent) for file in unsent(run)]
