"""`make benchmark`: games x recipes x seeds, trained, evaluated and compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from custom.jobs.choose import launcher
from custom.jobs.task import Resources
from custom.learner.engine import Engine
from custom.recipe.entries import find_recipe, recipe_name
from custom.recipe.recipe import load_recipe
from custom.system.console import say
from custom.system.errors import UserError
from scripts import options
from scripts.options import whole

if TYPE_CHECKING:  # slow to import
    from custom.jobs.matrix import Cell, Matrix

FLAGS = (
    *("device", "steps", "eval-episodes", "envs", "precision", *options.FAN_OUT, "save-state"),
    ("games", {"default": "", "help": "e.g. 'Pong Breakout'"}),
    ("recipes", {"default": "dqn", "help": "e.g. 'dqn rainbow'"}),
    ("seeds", {"type": whole(1), "default": 5, "help": "of each game and recipe"}),
    ("first-seed", {"type": whole(0), "default": 1, "help": "the others follow"}),
    ("evaluations", {"type": whole(1), "default": 20, "help": "during each run"}),
    ("out", {"type": Path, "help": "folder of the report; default: LOGS/compare/benchmark"}),
)


def command(args: argparse.Namespace) -> int:
    """Train what is missing, then compare all of it."""
    matrix = matrix_of(args)
    from custom.compare.comparison import compare
    from custom.compare.report import write_report
    from custom.compare.sources import from_logs
    from custom.compare.tables import show

    failed = matrix.train(launcher(args.cluster, args.logs / "matrix"), args.jobs)
    if failed:
        say(f"{len(failed)} runs did not finish: {', '.join(failed)}; the same command resumes")
        return 1
    games = options.games_named(args.games)
    recipes = list(dict.fromkeys(cell.recipe.name for cell in matrix.cells))
    out: Path = args.out or args.logs / "compare" / "benchmark"
    runs, left_out = from_logs(args.logs, games, recipes)
    data = compare(matrix.measured(runs), left_out)
    write_report(data, out)
    show(data)
    print(f"Report: {out / 'report.html'}")
    return 0


def matrix_of(args: argparse.Namespace) -> Matrix:
    """What the flags ask for.

    :raises UserError: nothing, or a recipe that is wrong for one of the games
    """
    cells = cells_of(args)
    least = min(cell.recipe.n_timesteps for cell in cells)
    if args.evaluations > least:
        raise UserError(f"--evaluations {args.evaluations}: more than {least} STEPS")
    from custom.env.workers import usable_cores
    from custom.jobs.matrix import Matrix

    cpus = args.cpus or max(usable_cores() // args.jobs, 1)
    return Matrix(
        tuple(cells),
        args.logs,
        args.evaluations,
        args.eval_episodes,
        Engine(n_envs=args.envs or 0, precision=args.precision),
        args.device,
        Resources(cpus, args.gpus, args.memory),
        args.save_state,
    )


def cells_of(args: argparse.Namespace) -> list[Cell]:
    """Games x recipes x seeds, whole rounds first."""
    games = options.games_named(args.games)
    recipes = list(dict.fromkeys(args.recipes.split()))
    for name, given in (("GAMES", games), ("RECIPES", recipes)):
        if not given:
            raise UserError(f"{name} is empty; write for one GAMES='Pong Breakout' RECIPES=dqn")
    names = [recipe_name(recipe) for recipe in recipes]
    if len(set(names)) < len(names):
        raise UserError(f"RECIPES: two are named {max(names, key=names.count)}; rename a file")
    for recipe in recipes:  # a mistyped name does not wait for PyTorch
        find_recipe(recipe)
    from custom.jobs.matrix import Cell

    return [
        Cell(game, load_recipe(recipe, game).with_budget(args.steps), seed)
        for seed in range(args.first_seed, args.first_seed + args.seeds)
        for game in games
        for recipe in recipes
    ]


if __name__ == "__main__":
    options.main(command)
