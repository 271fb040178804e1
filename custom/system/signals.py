"""Ctrl-C, SIGTERM and a lost terminal: how a command and how a training end on them."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_STATUS = 128  # a shell reports an end by signal n as 128 + n


def end_on_signals() -> None:
    """End the command by an exception on the first signal; later ones are ignored."""
    for number in STOPPING:
        signal.signal(number, _end)


def _end(number: int, _: object) -> None:
    for other in STOPPING:  # they would interrupt the tidying up
        signal.signal(other, _ignored)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(SIGNAL_STATUS + number)


def _ignored(*_: object) -> None:
    """What a signal does after the first one."""


def ignore() -> None:
    """Ignore signals: the command is nearly over."""
    for number in STOPPING:  # a handler of Python's own would be gone before the process is
        signal.signal(number, signal.SIG_IGN)


def interrupted() -> bool:
    """Whether a signal came, even if a library swallowed its exception, as some imports do."""
    return signal.getsignal(signal.SIGINT) is _ignored


@contextmanager
def stopping_on_signals(request_stop: Callable[[], None]) -> Iterator[list[int]]:
    """Signals end the training after the rollout at hand.

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
