"""A whole search: begin or resume the study, run trials, rank the finalists."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import optuna
from gymnasium import spaces

from custom.compare.report import write_report
from custom.env.games import make_games
from custom.env.workers import usable_cores
from custom.jobs.choose import launcher
from custom.jobs.task import Launcher, Resources
from custom.learner.engine import Engine
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.replay.memory import largest_replay
from custom.system.console import say
from custom.system.errors import UserError
from custom.tuning import storage
from custom.tuning.best import keep_ranking
from custom.tuning.files import write_files
from custom.tuning.finalists import finalists, matrix_of, rank
from custom.tuning.plan import Plan
from custom.tuning.search import RESUMES, Search
from custom.tuning.study import begin
from custom.tuning.study import plan_of as plan_of_study


def tune(args: argparse.Namespace, game: Game, recipe: Recipe, name: str, folder: Path) -> None:
    """Begin or resume a study, search, rank the finalists.

    :param args: the flags of `make tune`
    :param name: of the study
    :param folder: of the study on this machine
    """
    plan = plan_of(args, game, recipe)
    url = storage.address(args.storage, folder / "study.db")
    where = launcher(args.cluster, folder)
    begun = begin(url, name, plan)
    here, plan = plan.largest_buffer, plan_of_study(begun)  # another machine may have begun it
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
    write_report(data, folder / "report")
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
        hyperparams=recipe.hyperparams.given,
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
    dimensions = ", ".join(dimension.name for dimension in plan.space.dimensions)
    return (
        f"study {name} in {storage.shown(url)}: {n_trials} trials of {plan.steps:,} steps around"
        f" {plan.recipe}; the first one is the recipe itself\n"
        f"searched: {dimensions}\n"
        f"objective: {plan.objective}, of {plan.evaluations} evaluations of {plan.episodes} full"
        f" games each; pruner: {plan.pruner}"
    )
