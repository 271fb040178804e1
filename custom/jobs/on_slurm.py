"""Tasks as jobs of SLURM, by `submitit`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from custom.jobs.remote import KILLED, POLL, run_task, shared_mark, unpack
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
        jobs = folder / "slurm"
        jobs.mkdir(exist_ok=True)
        jobs.chmod(0o700)  # its files hold the tasks' input
        try:
            self._executor = submitit.AutoExecutor(jobs, cluster=cluster)
        except RuntimeError as error:
            raise UserError(f"CLUSTER=slurm: {' '.join(str(error).split())}") from None

    def start(self, task: Task) -> Handle:
        """Queue a task."""
        needs = task.resources
        if needs.gpus % 1:
            raise UserError(f"--gpus {needs.gpus}: SLURM gives whole ones; write 0 or 1")
        self._executor.update_parameters(
            name=task.name.replace(" ", "_"),
            cpus_per_task=needs.cpus,
            gpus_per_node=int(needs.gpus),
            mem_gb=needs.memory_gb or None,
            timeout_min=MINUTES,
        )
        return SlurmHandle(task, self._executor.submit(run_task, task, str(self._mark)))


class SlurmHandle:
    """A job of SLURM."""

    def __init__(self, task: Task, job: Any) -> None:
        self._task = task
        self._job = job

    def status(self) -> int | None:
        """Its exit status, `KILLED` if it has none, None while it runs."""
        if not self._job.done():
            return None
        if self._job.exception() is not None:
            return KILLED
        unpack(self._task, self._job.result())
        return int(self._job.result().status)

    def stop(self) -> None:
        """Cancel it."""
        self._job.cancel()

    def end(self, seconds: float) -> None:
        """Wait so long for its end; it is cancelled already."""
        end = time.monotonic() + seconds
        while not self._job.done() and time.monotonic() < end:
            time.sleep(POLL)
