"""`make compare`: recipes side by side, over all their runs, with uncertainty."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from custom.console import say
from custom.errors import UserError
from custom.recipe.games import Game, find_game
from custom.tracking.wish import project_named
from scripts import options

MANY = 3  # games, whose names together would be too long for a folder


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.compare", __doc__, "game")
    made.add_argument("--games", default="", help="more games, for scores over all of them")
    made.add_argument("--recipes", default="dqn", help="names of recipes, e.g. 'dqn dqn-rmsprop'")
    made.add_argument(
        "--source", choices=["logs", "wandb"], default="logs", help="where the runs are read"
    )
    made.add_argument("--project", default="", help="of W&B: entity/name; default: WANDB_PROJECT")
    made.add_argument("--out", type=Path, help="folder; default: LOGS/compare/GAME")
    return made


def command(args: argparse.Namespace) -> None:
    """Collect, compare, write, print the tables."""
    # Statistics take seconds to import: nobody else shall wait for them.
    from custom.compare.comparison import compare
    from custom.compare.from_logs import from_logs
    from custom.compare.from_wandb import from_wandb
    from custom.compare.output import whole_folder, write_all
    from custom.compare.tables import short

    games, recipes = games_of(args), args.recipes.split()
    if not recipes:
        raise UserError("RECIPES is empty; write for one RECIPES='dqn dqn-rmsprop'")
    if args.source == "logs" and not args.logs.is_dir():
        raise UserError(f"LOGS {args.logs}: there is no such folder")
    out = args.out or args.logs / "compare" / folder_of(games)
    with whole_folder(out) as folder:
        if args.source == "wandb":
            project = project_named(args.project)
            runs, left_out = from_wandb(project, games, recipes, args.logs, folder)
        else:
            runs, left_out = from_logs(args.logs, games, recipes)
        say(f"comparing {len(runs)} runs; each pair of recipes takes some seconds")
        data = compare(runs, left_out, args.source, say)
        write_all(data, folder)
    print(short(data))
    print(f"Report: {out / 'report.html'}")


def folder_of(games: list[Game]) -> str:
    """The name of a comparison's folder."""
    names = "-".join(game.folder_name for game in games)
    if len(games) <= MANY:
        return names
    return f"{len(games)}-games-{hashlib.sha256(names.encode()).hexdigest()[:8]}"


def games_of(args: argparse.Namespace) -> list[Game]:
    """GAME and GAMES, each once."""
    found = [find_game(name) for name in [args.game, *args.games.split()]]
    return list({game.env_id: game for game in found}.values())


if __name__ == "__main__":
    options.main(parser, command)
