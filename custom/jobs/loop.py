"""Keeps as many tasks running as there are slots."""

from __future__ import annotations

import time
from collections.abc import Callable

from custom.jobs.task import PATIENCE, Handle, Launcher, Task

POLL = 0.2  # seconds


def run_all(
    launcher: Launcher,
    slots: int,
    next_task: Callable[[], Task | None],
    ended: Callable[[Task, int], None],
    is_over: Callable[[], bool],
) -> None:
    """Start a task whenever a slot is free, until nothing is left.

    An exception, Ctrl-C for one, stops the tasks after they have saved their state.

    :param next_task: the next to start; None: none at this moment
    :param ended: called with each task that ended and its exit status
    :param is_over: whether nothing will be left to start once no task runs
    """
    running: list[tuple[Task, Handle]] = []
    try:
        while True:
            for pair in list(running):
                task, handle = pair
                if (status := handle.status()) is not None:
                    running.remove(pair)
                    ended(task, status)
            while len(running) < slots and (task_now := next_task()) is not None:
                running.append((task_now, launcher.start(task_now)))
            if not running and is_over():
                return
            time.sleep(POLL)
    finally:
        for _, handle in running:
            handle.stop()
        end = time.monotonic() + PATIENCE
        for _, handle in running:
            handle.end(max(end - time.monotonic(), 0.0))
