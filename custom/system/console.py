"""Lines for the user that never end a command, also if the pipe or the terminal has gone."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence

from tqdm import tqdm

PIPE_WIDTH = 200  # columns of a table that goes to a pipe or file


class LastingStream(io.TextIOWrapper):
    """A stream that goes nowhere once nobody reads it; its writes raise nothing.

    `problem` says what a disk or a device did not take.
    """

    problem: str | None = None

    def write(self, text: str, /) -> int:
        """As the base class's."""
        self._try(lambda: super(LastingStream, self).write(text))
        return len(text)

    def flush(self) -> None:
        """As the base class's."""
        self._try(super().flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            if error.errno != errno.EPIPE:  # as of `| head`
                self.problem = error.strerror
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def make_streams_last() -> None:
    """Open closed standard streams, and let no write to them fail.

    What a stream cannot encode becomes ``?``.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest free number
    for fd, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name) or open(fd, "w", closefd=False)  # noqa: SIM115
        if type(stream) is io.TextIOWrapper:  # not one that somebody put in its place
            encoding, buffer = stream.encoding, stream.detach()
            lasting = LastingStream(buffer, encoding, "replace", line_buffering=True)
            setattr(sys, name, lasting)
            setattr(sys, f"__{name}__", lasting)  # whose width a terminal is asked for


def say(text: str) -> None:
    """Print a line on standard output without breaking a progress bar."""
    tqdm.write(text)
    sys.stdout.flush()


def print_table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str]], only_first_wraps: bool = False
) -> None:
    """Print a table of plain text as wide as the terminal.

    :param only_first_wraps: no line breaks in the other columns
    """
    from rich.console import Console  # a training prints no table
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in head:
        table.add_column(name, no_wrap=only_first_wraps and name != head[0], overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)
