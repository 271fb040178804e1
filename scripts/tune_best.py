"""`make tune-best`: write the winner of a study as a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path

from custom.console import say
from custom.recipes import FOLDER
from custom.tuning import storage, study
from custom.tuning.best import write_best
from scripts import options


def command(args: argparse.Namespace) -> None:
    """Find the study, write the file, say how to train with it."""
    name, folder = options.study_of(args)
    found = study.load(storage.existing(args.storage, folder / "study.db"), name)
    plan = study.plan_of(found)
    out = args.out or FOLDER / f"{plan.recipe}-tuned-{plan.game.name}.yml"
    say(write_best(found, plan, folder, out))
    recipe = out.stem if out.parent == FOLDER else out
    say(f"Recipe: {out}; make train GAME={plan.game.name} RECIPE={recipe}")


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.tune_best", __doc__, "game", "recipe")
    options.add_study(made)
    made.add_argument("--out", type=Path, help="file; default: hyperparams/RECIPE-tuned-GAME.yml")
    return made


if __name__ == "__main__":
    options.main(parser, command)
