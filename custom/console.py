"""Lines for the user that never end a run, though the pipe is closed or the terminal has gone."""

from __future__ import annotations

import os
import sys

from tqdm import tqdm


def say(text: str) -> None:
    """Print a line on standard output without breaking a progress bar."""
    try:
        tqdm.write(text)
        sys.stdout.flush()
    except OSError:  # nobody reads any more: from here on nothing is written
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
