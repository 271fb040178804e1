"""The launcher that a user asks for."""

from __future__ import annotations

import os
from pathlib import Path

from custom.jobs.task import Launcher, ThisMachine


def launcher(cluster: str, folder: Path) -> Launcher:
    """Where tasks run.

    :param cluster: ``auto``: Ray if ``RAY_ADDRESS`` is set
    :param folder: for the launcher's files
    """
    # Each imports its package, which may not be installed.
    if cluster == "ray" or (cluster == "auto" and os.environ.get("RAY_ADDRESS")):
        from custom.jobs.on_ray import OnRay

        return OnRay(folder)
    if cluster == "slurm":
        from custom.jobs.on_slurm import OnSlurm

        return OnSlurm(folder)
    return ThisMachine()
