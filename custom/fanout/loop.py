"""Keeps as many tasks running as there are slots."""

from __future__ import annotations

import time
from collections.abc import Callable

from custom.fanout.task import Handle, Launcher, Task

POLL = 0.2  # seconds
PATIENCE = 300.0  # in which all of them save what they have


def run_all(
    launcher: Launcher,
    slots: int,
    next_task: Callable[[], Task | None],
    ended: Callable[[Task, int], None],
    is_over: Callable[[], bool],
) -> None:
    """Start tasks whenever a slot is free, until all is over.

    Whatever ends this ends the tasks, too, after they have saved what they have.

    :param next_task: what to start next; None: nothing now
    :param ended: told of each task that ended and of its status
    :param is_over: whether nothing will be left to start once nothing runs
    """
    running: list[tuple[Task, Handle]] = []
    try:
        while True:
            for one in list(running):
                task, handle = one
                if (status := handle.status()) is not None:
                    running.remove(one)
                    ended(task, status)
            while len(running) < slots and (following := next_task()) is not None:
                running.append((following, launcher.start(following)))
            if not running and is_over():
                return
            time.sleep(POLL)
    finally:
        _end([handle for _, handle in running])


def _end(handles: list[Handle]) -> None:
    for handle in handles:
        handle.stop()
    over = time.monotonic() + PATIENCE
    for handle in handles:
        handle.end(max(over - time.monotonic(), 0.0))
