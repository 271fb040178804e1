"""`make runs`: list the runs of this machine."""

import argparse

from custom.recipe.games import find_game
from scripts import options

FLAGS = (
    ("game", {"default": "", "help": "only runs of this game"}),
    ("recipe", {"default": "", "help": "only runs of this recipe"}),
)


def command(args: argparse.Namespace) -> None:
    """Read, print the table."""
    game = find_game(args.game).env_id if args.game else ""
    from custom.runs.listing import HEAD, rows_of
    from custom.system.console import print_table

    rows, problems = rows_of(args.logs, game, args.recipe)
    if rows:
        print_table("", HEAD, [row for _, row in rows], only_first_wraps=True)
    else:
        print(f"no runs in {args.logs}; make train")
    for problem in problems:
        print(problem)


if __name__ == "__main__":
    options.main(command)
