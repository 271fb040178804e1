"""`make runs`: list the runs of this machine."""

from __future__ import annotations

import argparse
import sys

from custom.overview import all_runs, format_runs
from custom.recipe.games import find_game
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.runs", __doc__)
    made.add_argument("--game", default="", help="those of a game alone")
    made.add_argument("--recipe", default="", help="those of a recipe alone")
    return made


def command(args: argparse.Namespace) -> None:
    """Read, print the table."""
    game = find_game(args.game).env_id if args.game else ""
    lines, damaged = all_runs(args.logs, game, args.recipe)
    print(format_runs(lines, args.logs) if lines else f"no runs in {args.logs}; make train")
    for problem in damaged:
        print(f"left out: {problem}", file=sys.stderr)


if __name__ == "__main__":
    options.main(parser, command)
