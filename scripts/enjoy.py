"""`make enjoy`: watch an agent play in a window."""

from __future__ import annotations

import argparse

from custom.video import show_window
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    flags = ("game", "recipe", "run", "seed", "device", "model", "epsilon")
    made = options.shared_parser("scripts.enjoy", __doc__, *flags)
    made.add_argument("--games", type=options.whole(1), default=1, help="full games to play")
    return made


def command(args: argparse.Namespace) -> None:
    """Play."""
    run = options.find_run(args)
    seed = args.seed or 0
    score = show_window(run, args.model, args.epsilon, seed, args.device, args.games)
    print(f"{score:.0f} points" + (f" a game, over {args.games} games" if args.games > 1 else ""))


if __name__ == "__main__":
    options.main(parser, command)
