"""Lines for the user that never end a run, though the pipe is closed or the terminal has gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from tqdm import tqdm

PIPE_WIDTH = 200  # columns of a table that goes to a pipe or file


def say(text: str) -> None:
    """Print a line on standard output without breaking a progress bar."""
    try:
        tqdm.write(text)
        sys.stdout.flush()
    except OSError:  # nobody reads any more: from here on nothing is written
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


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
