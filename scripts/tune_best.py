"""`make tune-best`: write the winner of a study as a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from custom.console import say
from custom.recipes import FOLDER, recipe_name
from custom.tuning import storage, study
from custom.tuning.best import write_best
from scripts import options


def command(args: argparse.Namespace) -> None:
    """Find the study, write the file, say how to train with it."""
    game = options.game_of(args)
    name = args.study or f"{recipe_name(args.recipe)}-{game.folder_name}"
    folder = args.logs / "tune" / name
    found = study.load(storage.address(args.storage, folder / "study.db"), name)
    plan = study.plan_of(found)
    out = args.out or FOLDER / f"{plan.recipe}-tuned-{plan.game.name}.yml"
    say(write_best(found, plan, folder, out))
    recipe = out.stem if out.parent == FOLDER else out
    say(f"Recipe: {out}; make train GAME={plan.game.name} RECIPE={recipe}")


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.tune_best", __doc__, "game", "recipe")
    made.add_argument("--storage", default="", help="a file, or postgresql://USER@HOST/DATABASE")
    made.add_argument("--study", default="", help="name; default: RECIPE-ENVIRONMENT")
    made.add_argument("--out", type=Path, help="file; default: hyperparams/RECIPE-tuned-GAME.yml")
    return made


if __name__ == "__main__":
    options.main(parser, command)
