"""`make tune`: search for better hyperparameters than a recipe's."""

import argparse

from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from scripts import options
from scripts.options import whole

FLAGS = (
    *("game", "recipe", "set", "seed", "device", "eval-episodes", "envs"),
    *(*options.STUDY, *options.FAN_OUT),
    ("trials", {"type": whole(1), "default": 50, "help": "of the study, all machines together"}),
    ("steps", {"type": whole(1), "default": 1_000_000, "help": "of each trial"}),
    ("search", {"default": "", "help": "what is searched, e.g. 'learning_rate batch_size'"}),
    ("evaluations", {"type": whole(1), "default": 5, "help": "of each trial"}),
    ("finalists", {"type": whole(0), "default": 3, "help": "best trials that are trained anew"}),
    ("seeds", {"type": whole(1), "default": 5, "help": "fresh seeds of each of them"}),
)


def command(args: argparse.Namespace) -> None:
    """Check, search, rank."""
    name, folder = options.study_of(args)
    game = find_game(args.game)
    recipe = load_recipe(args.recipe, game).with_budget(args.steps)
    args.device = options.check_device(args.device)
    from custom.tuning.tune import tune

    tune(args, game, recipe, name, folder)


if __name__ == "__main__":
    options.main(command)
