"""`make tune-best`: write the winner of a study as a recipe."""

import argparse
import re
import shlex
from pathlib import Path

from custom.recipe.recipe import FOLDER
from custom.system.console import say
from scripts import options

OUT = {"type": Path, "help": "file; default: hyperparams/RECIPE-tuned-GAME[-STUDY].yml"}
FLAGS = ("game", "recipe", *options.STUDY, ("out", OUT))


def command(args: argparse.Namespace) -> None:
    """Write the winner's file, and say how to train with it."""
    study, _ = options.load_study(args)
    from custom.tuning.finalists import write_best
    from custom.tuning.study import plan_of

    plan = plan_of(study)
    of = f"-{args.study}" if args.study else ""
    name = re.sub("[+=]", "-", f"{plan.recipe}-tuned-{plan.game.name}{of}")
    out = args.out or Path("hyperparams") / f"{name}.yml"
    say(write_best(study, plan, out))
    recipe = out.stem if out.parent.resolve() == FOLDER else shlex.quote(str(out))
    envs = f" ENVS={plan.n_envs}" if plan.n_envs else ""
    say(
        f"Recipe: {out}, of {plan.steps:,} steps unless STEPS says more:"
        f" make train GAME={plan.game.name} RECIPE={recipe}{envs}"
    )


if __name__ == "__main__":
    options.main(command)
