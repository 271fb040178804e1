"""`make record`: film one game of an agent."""

from __future__ import annotations

import argparse

from custom.video import record_run
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    flags = ("game", "recipe", "run", "seed", "device", "model", "epsilon")
    return options.shared_parser("scripts.record", __doc__, *flags)


def command(args: argparse.Namespace) -> None:
    """Film."""
    run = options.find_run(args)
    film, gif, score = record_run(
        run, run.model(args.model), args.epsilon, args.seed or 0, args.device
    )
    print(f"a game of {score:.0f} points\nFilm: {film}\nGIF of its first 20 seconds: {gif}")


if __name__ == "__main__":
    options.main(parser, command)
