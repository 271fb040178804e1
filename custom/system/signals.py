"""Ctrl-C, SIGTERM and a lost terminal: how a command and how a training end on them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TIDY = 5.0  # seconds that a command may take to tidy up
SIGNAL_STATUS = 128  # a shell reports an end by signal n as 128 + n


class Ending:
    """A handler of signals: the first one raises, later ones would interrupt the tidying up.

    Where that takes longer than `TIDY` seconds (threads that wait, say), one more ends the process.
    """

    def __init__(self) -> None:
        self.first: float | None = None

    def __call__(self, number: int, _: object) -> None:
        if self.first is not None:
            if time.monotonic() - self.first > TIDY:
                os._exit(SIGNAL_STATUS + number)
            return
        self.first = time.monotonic()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(SIGNAL_STATUS + number)


def end_on_signals() -> Ending:
    """End the command on signals, by an exception.

    :return: knows of a signal even if a library swallowed the exception, as some imports do
    """
    ending = Ending()
    for number in STOPPING:
        signal.signal(number, ending)
    return ending


def ignore() -> None:
    """Ignore signals: the command is nearly over."""
    for number in STOPPING:  # a handler of Python's own would be gone before the process is
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stopping_on_signals(request_stop: Callable[[], None]) -> Iterator[list[int]]:
    """Signals end the training after the step at hand.

    Nothing is raised, however many come: an exception would interrupt whatever Python happens to
    be doing, a save as well as an import. An evaluation under way ends after its step. Once a
    signal has come, the handler stays to the end of the process, which is near.

    :return: the signals that came
    """
    received: list[int] = []

    def handle(number: int, _: object) -> None:
        received.append(number)
        request_stop()

    before = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield received
    finally:
        for number, handler in before.items():
            if not received:
                signal.signal(number, handler)


def interrupted() -> bool:
    """Whether the command's `Ending` has had a signal."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, Ending) and handler.first is not None
