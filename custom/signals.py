"""Ctrl-C, SIGTERM and a lost terminal: how a command and how a training end on them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from custom.callbacks import StopRequest

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TIDY = 5.0  # seconds that a command may take to tidy up
_came: list[float] = []  # when a command was first asked to end
SIGNAL_STATUS = 128  # a shell reports an end by signal n as 128 + n


def end_on_signals() -> None:
    """How a command ends: the first raises; the next would only break off the tidying up.

    Where that takes longer than `TIDY` seconds (threads that wait for somebody, say), one more
    ends the process at once.
    """
    _came.clear()

    def handle(number: int, _: object) -> None:
        if _came and time.monotonic() - _came[0] > TIDY:
            os._exit(SIGNAL_STATUS + number)
        if _came:
            return
        _came.append(time.monotonic())
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(SIGNAL_STATUS + number)

    for number in STOPPING:
        signal.signal(number, handle)


def came() -> bool:
    """Whether a command was asked to end, even if what it raised was swallowed on the way up.

    Libraries do that where they try an import, for one.
    """
    return bool(_came)


def ignore() -> None:
    """From here on the command is as good as over."""
    for number in STOPPING:  # a handler of Python's own would be gone before the process is
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stopping_on_signals(stop: StopRequest) -> Iterator[list[int]]:
    """Signals end the training after the step at hand.

    Nothing is raised, however many come: an exception would break off whatever Python happens to
    be doing, a save as well as an import. An evaluation under way ends after its step. Once one
    has come, this stays so to the end of the process, which is near.

    :return: the signals that came
    """
    received: list[int] = []

    def handle(number: int, _: object) -> None:
        received.append(number)
        stop.requested = True

    before = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield received
    finally:
        for number, handler in before.items():
            if not received:
                signal.signal(number, handler)
