"""Tasks on Ray: embedded on this machine, or on the cluster that ``RAY_ADDRESS`` names."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from pathlib import Path
from typing import Any

from custom.jobs.remote import RemoteHandle, run_task, shared_mark
from custom.jobs.task import Handle, Resources, Task
from custom.system.console import say
from custom.system.errors import UserError
from custom.system.signals import STOPPING

ROOT = Path(__file__).resolve().parents[2]


class OnRay:
    """Ray queues tasks until a machine has what they need.

    :param folder: on this machine, for its files
    :raises UserError: Ray is not installed, or its cluster does not answer
    """

    def __init__(self, folder: Path) -> None:
        try:
            import ray
        except ImportError:
            raise UserError(
                "CLUSTER=ray needs Ray; .venv/bin/pip install -c constraints.txt -e '.[cluster]'"
            ) from None
        self._ray = ray
        self._mark = shared_mark(folder)
        self._is_told = False
        where: dict[str, Any] = {"include_dashboard": False}
        is_checkout = (ROOT / "pyproject.toml").is_file()
        if os.environ.get("RAY_ADDRESS") and is_checkout:  # its machines get a copy of it
            where = {"runtime_env": {"working_dir": str(ROOT), "excludes": ["logs", ".venv"]}}
        handlers = {number: signal.getsignal(number) for number in STOPPING}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                ray.init(
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    ignore_reinit_error=True,
                    **where,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"RAY_ADDRESS: no Ray cluster answers ({reason[:200]})") from None
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray's own abort the process

    def start(self, task: Task) -> Handle:
        """Queue a task."""
        needs = task.resources
        self._check(needs)
        remote = self._ray.remote(run_task).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=int(needs.memory_gb * 1e9) or None,
            max_retries=0,  # the caller starts it again, from its saved state
            name=task.name,
        )
        job = remote.remote(task, str(self._mark))
        return RemoteHandle(task, job.future(), lambda kill: self._ray.cancel(job, force=kill))

    def _check(self, needs: Resources) -> None:
        """Ray would wait without a word for what no machine has.

        :raises UserError: this machine has not; a cluster may grow, and is waited for
        """
        # Without Ray installed, mypy has nothing to ignore here.
        nodes: list[dict[str, Any]] = self._ray.nodes()  # type: ignore[no-untyped-call,unused-ignore]
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        asked = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_gb * 1e9}
        if any(all(has.get(key, 0) >= asked[key] for key in asked) for has in machines):
            return
        cpus, gpus, memory = (max(has.get(key, 0.0) for has in machines) for key in asked)
        text = (
            f"--cpus {needs.cpus} --gpus {needs.gpus} --memory {needs.memory_gb}: no machine of Ray"
            f" has that; they have up to {cpus:g} cores, {gpus:g} GPUs and {memory / 1e9:.0f} GB"
        )
        if not os.environ.get("RAY_ADDRESS"):
            raise UserError(text)
        if not self._is_told:
            say(f"{text}; waiting for one that has")
        self._is_told = True
