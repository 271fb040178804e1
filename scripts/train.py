"""`make train`: train an agent on a game, then evaluate, film and plot it."""

from __future__ import annotations

import argparse
import secrets

from custom.console import say
from custom.evaluation import EPSILON
from custom.experiment import Settings, build
from custom.recipes import Recipe, load_recipe
from custom.training import train
from scripts import options


def command(args: argparse.Namespace) -> int:
    """Check, train, report."""
    game = options.game_of(args)
    recipe = load_recipe(args.recipe, game).with_budget(args.steps)
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    settings = Settings(
        seed=seed,
        logs=args.logs,
        device=args.device,
        eval_freq=args.eval_freq,
        eval_episodes=args.eval_episodes,
        eval_epsilon=args.eval_epsilon,
        save_freq=args.save_freq,
        keep_checkpoints=args.keep_checkpoints,
    )
    experiment, model = build(recipe, game, settings)
    say(game.explain())
    say(describe(recipe, seed, str(model.device)))
    return train(experiment, model, report_episodes=0 if args.no_report else args.episodes)


def describe(recipe: Recipe, seed: int, device: str) -> str:
    """What is going to run, in a few lines."""
    lines = [
        f"{recipe.file}: {recipe.n_timesteps:,} steps, seed {seed}, on {device}",
        f"exploration: epsilon falls for {recipe.exploration_steps:,} steps",
        *recipe.notes,
    ]
    return "\n".join(lines)


def parser() -> options.Parser:
    """Flags of the command."""
    flags = ("game", "recipe", "seed", "device", "episodes")
    made = options.shared_parser("scripts.train", __doc__, *flags)
    count, several = options.whole(0), options.whole(1)
    made.add_argument("--steps", type=several, help="budget in steps; default: the recipe's")
    made.add_argument("--eval-freq", type=count, default=0, help="steps between evaluations")
    made.add_argument("--eval-episodes", type=several, default=10, help="games of each of them")
    made.add_argument("--eval-epsilon", type=options.share, default=EPSILON, help="their epsilon")
    made.add_argument("--save-freq", type=count, default=0, help="steps between checkpoints")
    made.add_argument("--keep-checkpoints", type=several, default=3, help="how many stay")
    made.add_argument(
        "--no-report", action="store_true", help="do not evaluate, film and plot at the end"
    )
    return made


if __name__ == "__main__":
    options.main(parser, command)
