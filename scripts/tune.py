"""`make tune`: search for better hyperparameters than a recipe's."""

from __future__ import annotations

import argparse

from custom.console import say
from custom.engine import Engine
from custom.envs import make_games
from custom.errors import UserError
from custom.fanout.task import Resources, ThisMachine
from custom.games import Game
from custom.memory import largest_replay
from custom.native_env import cores
from custom.recipes import Recipe, load_recipe
from custom.tuning.plan import OBJECTIVES, PRUNERS, Plan
from scripts import options


def command(args: argparse.Namespace) -> None:
    """Begin or go on with a study, search, say what was found."""
    from custom.tuning import storage, study
    from custom.tuning.search import Search

    game = options.game_of(args)
    recipe = load_recipe(args.recipe, game).with_budget(args.steps)
    plan = plan_of(args, game, recipe)
    name = args.study or f"{recipe.name}-{game.folder_name}"
    folder = args.logs / "tune" / name
    url = storage.address(args.storage, folder / "study.db")
    begun = study.begin(url, name, plan)
    say(describe(plan, name, url, args.trials))
    resources = Resources(cpus=max(cores() // args.jobs, 1))
    search = Search(begun, url, args.trials, folder, args.device, resources)
    search.run(ThisMachine(), args.jobs)
    say(f"Study: {folder}")


def plan_of(args: argparse.Namespace, game: Game, recipe: Recipe) -> Plan:
    """What the flags ask for.

    :raises UserError: fewer steps than evaluations
    """
    if args.evaluations > recipe.n_timesteps:
        raise UserError(f"--evaluations {args.evaluations}: more than {recipe.n_timesteps} STEPS")
    env = make_games(game, recipe.hyperparams, 1, 0)
    largest = largest_replay(env.observation_space, recipe.hyperparams) // args.jobs
    env.close()
    plan = Plan(
        env_id=game.env_id,
        recipe=recipe.name,
        algo=recipe.algo,
        hyperparams=recipe.hyperparams,
        seed=args.seed or 0,
        objective=args.objective,
        evaluations=args.evaluations,
        episodes=args.eval_episodes,
        pruner=args.pruner,
        search=tuple(args.search.split()),
        largest_buffer=largest,
        engine=Engine(env=args.engine, n_envs=args.envs or 0),
    )
    _ = plan.space  # or what is wrong with it would be said by every trial
    return plan


def describe(plan: Plan, name: str, url: str, n_trials: int) -> str:
    """What is going to be searched, in a few lines."""
    from custom.tuning.storage import shown

    dimensions = ", ".join(dimension.name for dimension in plan.space.dimensions)
    return (
        f"study {name} in {shown(url)}: {n_trials} trials of {plan.steps:,} steps around"
        f" {plan.recipe}; the first one is the recipe itself\n"
        f"searched: {dimensions}\n"
        f"objective: {plan.objective}, of {plan.evaluations} evaluations of {plan.episodes} full"
        f" games each; pruner: {plan.pruner}"
    )


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.tune", __doc__, "game", "recipe", "seed", "device")
    several = options.whole(1)
    add = made.add_argument
    add("--trials", type=several, default=50, help="of the study, all machines together")
    add("--steps", type=several, default=1_000_000, help="of each trial")
    add("--jobs", type=options.whole(1, 1024), default=1, help="trials at once on this machine")
    add("--storage", default="", help="a file, or postgresql://USER@HOST/DATABASE")
    add("--study", default="", help="name; default: RECIPE-ENVIRONMENT")
    add("--search", default="", help="what is searched, e.g. 'learning_rate batch_size'")
    add("--objective", choices=OBJECTIVES, default="final", help="last evaluation, or area")
    add("--evaluations", type=several, default=5, help="of each trial")
    add("--eval-episodes", type=several, default=10, help="full games of each of them")
    add("--pruner", choices=PRUNERS, default="median", help="what ends trials early")
    add("--engine", choices=("sb3", "native"), default="sb3", help="what plays the game")
    add("--envs", type=options.whole(1, 1024), help="games at once in each trial")
    return made


if __name__ == "__main__":
    options.main(parser, command)
