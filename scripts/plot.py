"""`make plot`: the learning curve of a run."""

from __future__ import annotations

import argparse

from custom.report import plot_run
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    flags = ("game", "recipe", "run")
    return options.shared_parser("scripts.plot", __doc__, *flags)


def command(args: argparse.Namespace) -> None:
    """Draw."""
    print(f"Plot: {plot_run(options.find_run(args))}")


if __name__ == "__main__":
    options.main(parser, command)
