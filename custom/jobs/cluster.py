"""Tasks on other machines, by Ray or SLURM; all machines share a disk.

Ray runs on this machine, or on the cluster that ``RAY_ADDRESS`` names. SLURM reads partition and
account from its own ``SBATCH_`` variables.
"""

import logging
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custom.jobs.task import PATIENCE, POLL, Handle, Launcher, Process, Task
from custom.system.console import say
from custom.system.errors import UserError, one_line
from custom.system.signals import STOPPING

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[cluster]'"
KILLED = -9  # status of a task whose worker died
MINUTES = 3 * 24 * 60  # of a job of SLURM


def launcher(cluster: str, folder: Path) -> Launcher:
    """Where tasks run.

    :param cluster: ``auto``: Ray if ``RAY_ADDRESS`` is set, else this machine
    :param folder: on this machine, for the cluster's files
    :raises UserError: the cluster's package is not installed, or the cluster does not answer
    """
    try:
        if cluster == "ray" or (cluster == "auto" and os.environ.get("RAY_ADDRESS")):
            return on_ray()
        return on_slurm(folder) if cluster == "slurm" else Process
    except ImportError as error:
        raise UserError(f"CLUSTER: {error.name} is not installed; {INSTALL}") from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"CLUSTER: the cluster does not answer ({one_line(error)[:200]})") from None


def on_ray() -> Launcher:
    """Ray queues tasks until a machine has what they need."""
    import ray

    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    is_cluster = bool(os.environ.get("RAY_ADDRESS"))
    if not is_cluster:
        settings["include_dashboard"] = False
    elif (ROOT / "pyproject.toml").is_file():  # its machines get a copy of this checkout
        settings["runtime_env"] = {"working_dir": str(ROOT), "excludes": ["logs", ".venv"]}
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ray.init(ignore_reinit_error=True, **settings)
    for number, handler in handlers.items():
        signal.signal(number, handler)  # Ray's own abort the process

    def start(task: Task) -> Handle:
        needs = task.resources
        asked = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_gb * 1e9}
        # Without Ray installed, mypy has nothing to ignore here.
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call,unused-ignore]
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        if not any(all(has.get(key, 0) >= asked[key] for key in asked) for has in machines):
            if not is_cluster:
                raise UserError(f"{task.name}: this machine does not have {needs}")
            say(f"{task.name}: waits, no machine of Ray has {needs}")
        remote = ray.remote(run_task).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=int(needs.memory_gb * 1e9) or None,
            max_retries=0,  # the caller starts it again, from its saved state
            name=task.name,
        )
        job = remote.remote(task)
        return RemoteHandle(task, job.future(), lambda kill: ray.cancel(job, force=kill))

    return start


def on_slurm(folder: Path, cluster: str = "slurm") -> Launcher:
    """SLURM queues tasks.

    :param cluster: of submitit; ``local`` for processes of this machine
    """
    import submitit

    private = folder / "slurm"  # for submitit's files: one may hold the password of a storage
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    executor = submitit.AutoExecutor(private, cluster=cluster)

    def start(task: Task) -> Handle:
        needs = task.resources
        if needs.gpus % 1:
            raise UserError(f"--gpus {needs.gpus}: SLURM gives whole ones; write 0 or 1")
        executor.update_parameters(
            name=task.name.replace(" ", "_"),
            cpus_per_task=needs.cpus,
            gpus_per_node=int(needs.gpus),
            mem_gb=needs.memory_gb or None,
            timeout_min=MINUTES,
        )
        job = executor.submit(run_task, task)
        return RemoteHandle(task, job, lambda kill: job.cancel())

    return start


class RemoteHandle:
    """A task on a cluster.

    :param job: of its exit status, with `done`, `exception` and `result` as a `Future` has them
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
            say(f"{self._task.name}: {one_line(error)[:200]}")
            return KILLED
        status: int = self._job.result()
        return status

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


def run_task(task: Task) -> int:
    """Run a task on this machine; a cancelled one is stopped as by Ctrl-C.

    :return: its exit status
    """
    process = Process(task)
    try:
        while (status := process.status()) is None:
            time.sleep(POLL)  # a cancellation interrupts it; Popen.wait() would not notice
    except BaseException:
        process.stop()
        process.end(PATIENCE)
        raise
    return status
