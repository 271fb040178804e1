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
TIDY = 5.0
SIGNAL_STATUS = 128  # a shell reports an end by signal n as 128 + n


def end_on_signals() -> None:
    """How a command ends: the first raises; the next would only break off the tidying up.

    Where that takes longer than `TIDY` seconds (threads that wait for somebody, say), one more
    ends the process at once.
    """
    first: list[float] = []

    def handle(number: int, _: object) -> None:
        if first and time.monotonic() - first[0] > TIDY:
            os._exit(SIGNAL_STATUS + number)
        if first:
            return
        first.append(time.monotonic())
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(SIGNAL_STATUS + number)

    for number in STOPPING:
        signal.signal(number, handle)


def ignore() -> None:
    """From here on the command is as good as over."""
    for number in STOPPING:  # not SIG_IGN, of which Python complains when a signal is under way
        signal.signal(number, lambda *_: None)


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
