"""`make runs`: list the runs of this machine."""

from __future__ import annotations

import argparse
import sys

from custom.recipe.games import find_game
from scripts import options

FLAGS = (
    ("game", {"default": "", "help": "only runs of this game"}),
    ("recipe", {"default": "", "help": "only runs of this recipe"}),
)


def command(args: argparse.Namespace) -> None:
    """Read, print the table."""
    game = find_game(args.game).env_id if args.game else ""
    from custom.runs.listing import HEAD, all_runs
    from custom.system.console import print_table

    lines, damaged = all_runs(args.logs, game, args.recipe)
    if lines:
        print_table("", HEAD, [line.cells(args.logs) for line in lines], only_first_wraps=True)
    else:
        print(f"no runs in {args.logs}; make train")
    for line in lines:
        if line.problem:
            print(line.problem)
    for problem in damaged:
        print(f"left out: {problem}", file=sys.stderr)


if __name__ == "__main__":
    options.main(command)
