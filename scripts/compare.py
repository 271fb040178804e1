"""`make compare`: recipes side by side, over all their runs, with uncertainty."""

import argparse
from pathlib import Path

from custom.recipe.recipe import load_recipe, recipe_name
from custom.system.console import say
from custom.system.errors import UserError
from custom.tracking.wish import project_named
from scripts import options

LONGEST = 100  # letters of the names of games that are a folder's
FLAGS = (
    *("game", "set", "project"),
    ("games", {"default": "", "help": "more games, for scores over all of them"}),
    ("recipes", {"default": "dqn", "help": "names of recipes, e.g. 'dqn dqn-rmsprop'"}),
    ("source", {"choices": ("logs", "wandb"), "default": "logs", "help": "where runs are read"}),
    ("out", {"type": Path, "help": "folder; default: LOGS/compare/GAME"}),
)


def command(args: argparse.Namespace) -> None:
    """Collect, compare, write, print the tables."""
    games, recipes = options.games_named(args.game, args.games), args.recipes.split()
    if not recipes:
        raise UserError("RECIPES is empty; write for one RECIPES='dqn dqn-rmsprop'")
    for recipe in recipes if args.set and args.source == "logs" else ():
        if not (args.logs / recipe_name(recipe)).is_dir():
            load_recipe(recipe, games[0], classes=False)  # names what is wrong in --set
    # Statistics take seconds to import: no mistyped name waits for them.
    from custom.compare.comparison import compare
    from custom.compare.report import write_report
    from custom.compare.sources import from_logs, from_wandb
    from custom.compare.tables import show

    if args.source == "wandb":
        runs, left_out = from_wandb(project_named(args.project), games, recipes, args.logs)
    else:
        runs, left_out = from_logs(args.logs, games, recipes)
    say(f"runs: {len(runs)}; to compare a pair of recipes takes some seconds")
    data = compare(runs, left_out)
    folder = "-".join(game.folder_name for game in games)[:LONGEST]
    out = args.out or args.logs / "compare" / folder
    write_report(data, out)
    show(data)
    print(f"Report: {out / 'report.html'}")


if __name__ == "__main__":
    options.main(command)
