"""Tasks on other machines, by Ray or SLURM. Without a shared disk their run folders are sent back.

Ray runs on this machine, or on the cluster that ``RAY_ADDRESS`` names. SLURM reads partition and
account from its own ``SBATCH_`` variables; its machines share a disk.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import secrets
import signal
import tarfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from custom.jobs.task import PATIENCE, POLL, Handle, Launcher, Process, Resources, Task
from custom.runs.folder import claim_folder
from custom.system.console import say
from custom.system.errors import UserError, one_line
from custom.system.signals import STOPPING

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ".venv/bin/pip install -c constraints.txt -e '.[cluster]'"
KILLED = -9  # status of a task whose worker died
NOT_SENT = ("tensorboard", "wandb")  # of a run folder
MINUTES = 3 * 24 * 60  # of a job of SLURM


def launcher(cluster: str, folder: Path) -> Launcher:
    """Where tasks run.

    :param cluster: ``auto``: Ray if ``RAY_ADDRESS`` is set, else this machine
    :param folder: on this machine, for the cluster's files
    :raises UserError: the cluster's package is not installed, or the cluster does not answer
    """
    if cluster == "ray" or (cluster == "auto" and os.environ.get("RAY_ADDRESS")):
        return on_ray(folder)
    return on_slurm(folder) if cluster == "slurm" else Process


def on_ray(folder: Path) -> Launcher:
    """Ray queues tasks until a machine has what they need."""
    try:
        import ray
    except ImportError:
        raise UserError(f"CLUSTER=ray needs Ray; {INSTALL}") from None
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    is_cluster = bool(os.environ.get("RAY_ADDRESS"))
    if not is_cluster:
        settings["include_dashboard"] = False
    elif (ROOT / "pyproject.toml").is_file():  # its machines get a copy of this checkout
        settings["runtime_env"] = {"working_dir": str(ROOT), "excludes": ["logs", ".venv"]}
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            ray.init(ignore_reinit_error=True, **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = one_line(error)[:200]
        raise UserError(f"RAY_ADDRESS: no Ray cluster answers ({reason})") from None
    for number, handler in handlers.items():
        signal.signal(number, handler)  # Ray's own abort the process
    mark = shared_mark(folder)

    def start(task: Task) -> Handle:
        needs = task.resources
        # Without Ray installed, mypy has nothing to ignore here.
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call,unused-ignore]
        lacks = _lacking(needs, [node["Resources"] for node in nodes if node["Alive"]])
        if lacks and not is_cluster:
            raise UserError(lacks)
        if lacks:
            say(f"{lacks}; waiting for one that has")
        remote = ray.remote(run_task).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=int(needs.memory_gb * 1e9) or None,
            max_retries=0,  # the caller starts it again, from its saved state
            name=task.name,
        )
        job = remote.remote(task, str(mark))
        return RemoteHandle(task, job.future(), lambda kill: ray.cancel(job, force=kill))

    return start


def _lacking(needs: Resources, machines: list[dict[str, float]]) -> str:
    """What no machine has, for which Ray would wait without a word; empty: one has it."""
    asked = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_gb * 1e9}
    if any(all(has.get(key, 0) >= asked[key] for key in asked) for has in machines):
        return ""
    cpus, gpus, memory = (max(has.get(key, 0.0) for has in machines) for key in asked)
    return (
        f"--cpus {needs.cpus} --gpus {needs.gpus} --memory {needs.memory_gb}: no machine of Ray"
        f" has that; they have up to {cpus:g} cores, {gpus:g} GPUs and {memory / 1e9:.0f} GB"
    )


def on_slurm(folder: Path, cluster: str = "slurm") -> Launcher:
    """SLURM queues tasks.

    :param cluster: of submitit; ``local`` for processes of this machine
    """
    try:
        import submitit
    except ImportError:
        raise UserError(f"CLUSTER=slurm needs submitit; {INSTALL}") from None
    try:
        executor = submitit.AutoExecutor(folder / "slurm", cluster=cluster)
    except RuntimeError as error:
        raise UserError(f"CLUSTER=slurm: {one_line(error)}") from None
    mark = shared_mark(folder)

    def start(task: Task) -> Handle:
        needs = task.resources
        if needs.gpus % 1:
            raise UserError(f"--gpus {needs.gpus}: SLURM gives whole ones; write 0 or 1")
        if task.stdin:  # other users may read submitit's own files
            secret = folder / f"{secrets.token_hex(8)}.stdin"
            secret.touch(mode=0o600)
            secret.write_text(task.stdin)
            task = replace(task, stdin="", stdin_file=str(secret))
        executor.update_parameters(
            name=task.name.replace(" ", "_"),
            cpus_per_task=needs.cpus,
            gpus_per_node=int(needs.gpus),
            mem_gb=needs.memory_gb or None,
            timeout_min=MINUTES,
        )
        job = executor.submit(run_task, task, str(mark))
        return RemoteHandle(task, job, lambda kill: job.cancel())

    return start


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
            say(f"{self._task.name}: {one_line(error)[:200]}")
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
