"""Tasks as jobs of SLURM, by `submitit`."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from custom.jobs.remote import RemoteHandle, run_task, shared_mark
from custom.jobs.task import Handle, Task
from custom.system.errors import UserError

MINUTES = 3 * 24 * 60  # of a job


class OnSlurm:
    """SLURM queues tasks; it reads partition and account from its own ``SBATCH_`` variables.

    :param folder: on a disk that all machines share
    :param cluster: of submitit; ``local`` for processes of this machine
    :raises UserError: submitit or SLURM is missing
    """

    def __init__(self, folder: Path, cluster: str = "slurm") -> None:
        try:
            import submitit
        except ImportError:
            raise UserError(
                "CLUSTER=slurm needs submitit; .venv/bin/pip install -c constraints.txt"
                " -e '.[cluster]'"
            ) from None
        self._mark = shared_mark(folder)
        self._folder = folder
        try:
            self._executor = submitit.AutoExecutor(folder / "slurm", cluster=cluster)
        except RuntimeError as error:
            raise UserError(f"CLUSTER=slurm: {' '.join(str(error).split())}") from None

    def start(self, task: Task) -> Handle:
        """Queue a task."""
        needs = task.resources
        if needs.gpus % 1:
            raise UserError(f"--gpus {needs.gpus}: SLURM gives whole ones; write 0 or 1")
        if task.stdin:  # other users may read submitit's own files
            secret = self._folder / f"{secrets.token_hex(8)}.stdin"
            secret.touch(mode=0o600)
            secret.write_text(task.stdin)
            task = replace(task, stdin="", stdin_file=str(secret))
        self._executor.update_parameters(
            name=task.name.replace(" ", "_"),
            cpus_per_task=needs.cpus,
            gpus_per_node=int(needs.gpus),
            mem_gb=needs.memory_gb or None,
            timeout_min=MINUTES,
        )
        job = self._executor.submit(run_task, task, str(self._mark))
        return RemoteHandle(task, job, lambda kill: job.cancel())
