"""`make tune-best`: write the winner of a study as a recipe."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from custom.recipe.recipe import FOLDER
from custom.system.console import say
from scripts import options

OUT = {"type": Path, "help": "file; default: hyperparams/RECIPE-tuned-GAME[-STUDY].yml"}
FLAGS = ("game", "recipe", *options.STUDY, ("out", OUT))


def command(args: argparse.Namespace) -> None:
    """Write the winner's file, and say how to train with it."""
    name, folder = options.study_of(args)
    from custom.tuning import storage, study
    from custom.tuning.best import engine_flags, write_best

    begun = study.load(storage.address(args.storage, folder / "study.db"), name)
    plan = study.plan_of(begun)
    of = f"-{args.study}" if args.study else ""
    out = args.out or Path("hyperparams") / f"{plan.recipe}-tuned-{plan.game.name}{of}.yml"
    say(write_best(begun, plan, out))
    recipe = out.stem if out.parent.resolve() == FOLDER else shlex.quote(str(out))
    flags = " ".join([f"GAME={plan.game.name}", f"RECIPE={recipe}", *engine_flags(plan.engine)])
    say(f"Recipe: {out}, of {plan.steps:,} steps unless STEPS says more: make train {flags}")


if __name__ == "__main__":
    options.main(command)
