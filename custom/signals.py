"""Ctrl-C, SIGTERM and a lost terminal: how a command and how a training end on them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from custom.callbacks import StopRequest

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_STATUS = 128  # a shell reports an end by signal n as 128 + n


def raise_first(number: int, _: object) -> NoReturn:
    """Handler of a command: raise for the first; later ones would break off the tidying up."""
    ignore()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(SIGNAL_STATUS + number)


def ignore() -> None:
    """From here on the command is as good as over."""
    for number in STOPPING:
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
