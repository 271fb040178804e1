"""`make compare`: recipes side by side, over all their runs, with uncertainty."""

from __future__ import annotations

import argparse
from pathlib import Path

from custom.console import say
from custom.errors import UserError
from custom.games import Game, find_game
from custom.tracking.wish import project_named
from scripts import options

MANY = 3  # games, whose names together would be too long for a folder


def parser() -> options.Parser:
    """Flags of the command."""
    flags = options.shared_parser("scripts.compare", __doc__, "game")
    add = flags.add_argument
    add("--games", default="", help="more games, for scores over all of them")
    add("--recipes", default="dqn", help="names of recipes, e.g. 'dqn dqn-rmsprop'")
    add("--source", choices=["logs", "wandb"], default="logs", help="where the runs are read")
    add("--project", default="", help="of W&B: entity/name; default: WANDB_PROJECT")
    add("--out", type=Path, help="folder; default: LOGS/compare/GAME")
    return flags


def command(args: argparse.Namespace) -> None:
    """Collect, compare, write, print the tables."""
    # Statistics take seconds to import: no other command waits for them.
    from custom.compare.comparison import compare
    from custom.compare.from_logs import from_logs
    from custom.compare.from_wandb import from_wandb
    from custom.compare.output import write_report
    from custom.compare.tables import show

    games, recipes = games_of(args), args.recipes.split()
    if not recipes:
        raise UserError("RECIPES is empty; write for one RECIPES='dqn dqn-rmsprop'")
    if args.source == "wandb":
        runs, left_out = from_wandb(project_named(args.project), games, recipes, args.logs)
    elif args.logs.is_dir():
        runs, left_out = from_logs(args.logs, games, recipes)
    else:
        raise UserError(f"LOGS {args.logs}: there is no such folder")
    say(f"comparing {len(runs)} runs; each pair of recipes takes some seconds")
    data = compare(runs, left_out)
    out = args.out or args.logs / "compare" / folder_of(games)
    write_report(data, out)
    show(data)
    print(f"Report: {out / 'report.html'}")


def folder_of(games: list[Game]) -> str:
    """The name of a comparison's folder."""
    if len(games) > MANY:
        return f"{games[0].folder_name}-and-{len(games) - 1}-more"
    return "-".join(game.folder_name for game in games)


def games_of(args: argparse.Namespace) -> list[Game]:
    """GAME and GAMES, each once."""
    games = [find_game(name) for name in [args.game, *args.games.split()]]
    return list({game.env_id: game for game in games}.values())


if __name__ == "__main__":
    options.main(parser, command)
