"""`make tune`: search for better hyperparameters than a recipe's."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import optuna
from gymnasium import spaces

from custom.console import say
from custom.engine import PRECISIONS, Engine
from custom.envs import make_games
from custom.errors import UserError
from custom.fanout.choose import launcher
from custom.fanout.task import Launcher, Resources
from custom.games import Game
from custom.memory import largest_replay
from custom.recipes import Recipe, load_recipe
from custom.tuning.best import keep_ranking
from custom.tuning.files import write_files
from custom.tuning.finalists import finalists, matrix_of, rank
from custom.tuning.plan import OBJECTIVES, PRUNERS, Plan
from custom.workers import usable_cores
from scripts import options


def command(args: argparse.Namespace) -> None:
    """Begin or resume a study, search, rank the finalists."""
    from custom.tuning import storage, study
    from custom.tuning.search import RESUMES, Search

    game = options.game_of(args)
    recipe = load_recipe(args.recipe, game).with_budget(args.steps)
    plan = plan_of(args, game, recipe)
    name, folder = options.study_of(args)
    url = storage.address(args.storage, folder / "study.db")
    where = launcher(args.cluster, folder)
    begun = study.begin(url, name, plan)
    here, plan = plan.largest_buffer, study.plan_of(begun)  # another machine may have begun it
    say(describe(plan, name, url, args.trials))
    warn_of_memory(plan, here, args.jobs)
    resources = Resources(args.cpus or max(usable_cores() // args.jobs, 1), args.gpus, args.memory)
    search = Search(begun, url, args.trials, folder, args.device, resources)
    try:
        search.run(where, args.jobs)
        write_files(begun, folder)
        if args.finalists:
            train_finalists(begun, plan, folder, args, where, resources)
    except (KeyboardInterrupt, SystemExit):
        say(RESUMES)
        raise
    say(f"Study: {folder}")


def train_finalists(
    study: optuna.Study,
    plan: Plan,
    folder: Path,
    args: argparse.Namespace,
    where: Launcher,
    resources: Resources,
) -> None:
    """Train the best trials and the recipe itself on fresh seeds, and rank them."""
    from custom.compare.output import whole_folder, write_all

    chosen = finalists(study, plan, args.finalists)
    how = {"device": args.device, "resources": resources, "save_state": args.save_state}
    names = ", ".join(finalist.name for finalist in chosen)
    say(f"finalists on {args.seeds} fresh seeds each: {names}")
    matrix = matrix_of(chosen, plan, folder, args.seeds, **how)
    if failed := matrix.train(where, args.jobs):
        say(f"without a ranking: {', '.join(failed)} did not finish")
        raise SystemExit(1)
    data, ranking = rank(chosen, plan, matrix)
    keep_ranking(study, ranking)
    with whole_folder(folder / "report") as report:
        write_all(data, report)
    say(f"ranking by {plan.objective} score; report: {folder / 'report' / 'report.html'}")
    for place, row in enumerate(ranking, start=1):
        say(f"{place}. {row['name']}: mean {row['mean']:.1f}, {row['verdict']}")


def plan_of(args: argparse.Namespace, game: Game, recipe: Recipe) -> Plan:
    """What the flags ask for.

    :raises UserError: fewer steps than evaluations
    """
    if args.evaluations > recipe.n_timesteps:
        raise UserError(f"--evaluations {args.evaluations}: more than {recipe.n_timesteps} STEPS")
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
        search=tuple(re.split(r"[,\s]+", args.search.strip())) if args.search.strip() else (),
        largest_buffer=largest_buffer(game, recipe, args.jobs),
        engine=Engine(n_envs=args.envs or 0, precision=args.precision),
    )
    _ = plan.space  # or what is wrong with it would be said by every trial
    return plan


def largest_buffer(game: Game, recipe: Recipe, jobs: int) -> int:
    """Steps of the largest replay that fits so many times into the memory of this machine."""
    env = make_games(game, recipe.hyperparams, 1, 0)
    space = env.observation_space
    env.close()
    assert isinstance(space, spaces.Box)
    return largest_replay(space, recipe.hyperparams) // jobs


def warn_of_memory(plan: Plan, here: int, jobs: int) -> None:
    """Say what the memory has to do with the search.

    :param here: steps of replay that this machine holds `jobs` times
    """
    largest = min(plan.largest_buffer, plan.steps)
    if plan.is_cut:
        say(f"buffer_size: {largest:,} steps at most, or replays would not fit into the memory")
    if here < 0.9 * largest:  # what is free changes from minute to minute
        say(
            f"warning: replays of the study have up to {largest:,} steps, of which {here:,} fit"
            f" {jobs} times into this machine; give a smaller JOBS"
        )


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
    several, add = options.whole(1), made.add_argument
    add("--trials", type=several, default=50, help="of the study, all machines together")
    add("--steps", type=several, default=1_000_000, help="of each trial")
    add("--search", default="", help="what is searched, e.g. 'learning_rate batch_size'")
    add("--objective", choices=OBJECTIVES, default="final", help="last evaluation, or area")
    add("--evaluations", type=several, default=5, help="of each trial")
    add("--eval-episodes", type=several, default=10, help="full games of each of them")
    add("--pruner", choices=PRUNERS, default="median", help="what ends trials early")
    add("--finalists", type=options.whole(0), default=3, help="best trials that are trained anew")
    add("--seeds", type=several, default=5, help="fresh seeds of each of them")
    add("--envs", type=options.whole(1, 1024), help="games at once in each trial")
    add("--precision", choices=PRECISIONS, default="float32", help="of the network")
    options.add_study(made)
    options.add_fanout(made)
    return made


if __name__ == "__main__":
    options.main(parser, command)
