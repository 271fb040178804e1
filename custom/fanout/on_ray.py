"""Tasks on Ray: embedded on this machine, or on the cluster that ``RAY_ADDRESS`` names."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from pathlib import Path
from typing import Any

from custom.console import say
from custom.errors import UserError
from custom.fanout.remote import KILLED, Outcome, run_task, shared_mark, unpack
from custom.fanout.task import ROOT, Handle, Resources, Task
from custom.signals import STOPPING


class OnRay:
    """Ray queues tasks until a machine has what they need.

    :param folder: on this machine, for what comes back
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
        self.mark = shared_mark(folder)
        self._said: set[str] = set()
        if ray.is_initialized():
            return
        where: dict[str, Any] = {"include_dashboard": False}
        handlers = {number: signal.getsignal(number) for number in STOPPING}
        if os.environ.get("RAY_ADDRESS"):  # other machines: what they run is this folder
            where = {"runtime_env": {"working_dir": str(ROOT), "excludes": ["logs", ".venv"]}}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
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
            max_retries=0,  # whoever started it knows what is done already
            name=task.name,
        )
        result = remote.remote(task, str(self.mark))
        return RayHandle(self._ray, task, result, self.mark)

    def _check(self, needs: Resources) -> None:
        """Ray would wait for ever, where no machine has what is asked for.

        :raises UserError: none has; a cluster may grow, and is waited for
        """
        nodes: list[dict[str, Any]] = self._ray.nodes()  # type: ignore[no-untyped-call]
        machines = [node["Resources"] for node in nodes if node["Alive"]]
        asked = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_gb * 1e9}
        most = {name: max(has.get(name, 0.0) for has in machines) for name in asked}
        if any(all(has.get(k, 0) >= v for k, v in asked.items()) for has in machines):
            if most["GPU"] and not needs.gpus:
                self._warn("--gpus 0: the GPUs there are idle; with 0.25 four trainings share one")
            return
        text = (
            f"--cpus {needs.cpus} --gpus {needs.gpus} --memory {needs.memory_gb}: no machine of Ray"
            f" has that; they have up to {most['CPU']:g} cores, {most['GPU']:g} GPUs and"
            f" {most['memory'] / 1e9:.0f} GB"
        )
        if not os.environ.get("RAY_ADDRESS"):
            raise UserError(text)
        self._warn(f"{text}; waiting for one that has")

    def _warn(self, text: str) -> None:
        if text not in self._said:
            say(text)
        self._said.add(text)


class RayHandle:
    """A task that Ray has."""

    def __init__(self, ray: Any, task: Task, result: Any, mark: Path) -> None:
        self._ray = ray
        self._mark = mark
        self._task = task
        self._result = result

    def status(self) -> int | None:
        """Its exit status, `KILLED` where its worker has gone, None while it runs."""
        done, _ = self._ray.wait([self._result], timeout=0)
        if not done:
            return None
        try:
            outcome: Outcome = self._ray.get(self._result)
        except self._ray.exceptions.TaskCancelledError:
            return KILLED
        except self._ray.exceptions.RayTaskError as error:  # of ours, not of its process
            reason = str(error.cause or error).splitlines()[-1]
            raise UserError(f"{self._task.name}: cannot be started there ({reason})") from None
        except self._ray.exceptions.RayError:
            return KILLED
        unpack(self._task, outcome)
        return outcome.status

    def stop(self) -> None:
        """Ask it to end, where the disk is shared and where it is not."""
        self._mark.unlink(missing_ok=True)
        self._ray.cancel(self._result)

    def end(self, seconds: float) -> None:
        """Wait for its end for so long, then end it."""
        done, _ = self._ray.wait([self._result], timeout=seconds)
        if not done:
            self._ray.cancel(self._result, force=True)
