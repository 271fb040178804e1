"""`make benchmark`: games x recipes x seeds, trained, evaluated and compared."""

import argparse
from pathlib import Path

from custom.jobs.task import Resources
from custom.learner.engine import Engine
from custom.recipe.recipe import load_recipe, recipe_name
from custom.system.console import say
from custom.system.errors import UserError
from scripts import options
from scripts.options import whole

FLAGS = (
    *("set", "device", "steps", "eval-episodes", "envs", "precision"),
    *options.FAN_OUT,
    ("games", {"default": "", "help": "e.g. 'Pong Breakout'"}),
    ("recipes", {"default": "dqn", "help": "e.g. 'dqn rainbow'"}),
    ("seeds", {"type": whole(1), "default": 5, "help": "of each game and recipe"}),
    ("evaluations", {"type": whole(1), "default": 20, "help": "during each run"}),
    ("out", {"type": Path, "help": "folder of the report; default: LOGS/compare/benchmark"}),
)


def command(args: argparse.Namespace) -> int:
    """Train what is missing, then compare all of it.

    :raises UserError: nothing is asked for, or a recipe is wrong for one of the games
    """
    games, recipes = options.games_named(args.games), list(dict.fromkeys(args.recipes.split()))
    for name, given in (("GAMES", games), ("RECIPES", recipes)):
        if not given:
            raise UserError(f"{name} is empty; write for one GAMES='Pong Breakout' RECIPES=dqn")
    names = [recipe_name(recipe) for recipe in recipes]
    if len(set(names)) < len(names):
        raise UserError(f"RECIPES: two are named {max(names, key=names.count)}; rename a file")
    loaded = [
        (game, load_recipe(recipe, game).with_budget(args.steps))
        for game in games
        for recipe in recipes
    ]
    least = min(recipe.n_timesteps for _, recipe in loaded)
    if args.evaluations > least:
        raise UserError(f"--evaluations {args.evaluations}: more than {least} STEPS")
    from custom.compare.comparison import compare
    from custom.compare.report import write_report
    from custom.compare.sources import from_logs
    from custom.compare.tables import show
    from custom.env.workers import usable_cores
    from custom.jobs.cluster import launcher
    from custom.jobs.matrix import Cell, Matrix

    seeds = range(1, args.seeds + 1)
    cells = tuple(Cell(*both, seed) for seed in seeds for both in loaded)  # whole rounds first
    matrix = Matrix(
        cells,
        args.logs,
        args.evaluations,
        args.eval_episodes,
        Engine(n_envs=args.envs or 0, precision=args.precision),
        args.device,
        Resources(args.cpus or max(usable_cores() // args.jobs, 1), args.gpus, args.memory),
    )
    if failed := matrix.train(launcher(args.cluster, args.logs / "matrix"), args.jobs):
        say(f"{len(failed)} runs did not finish: {', '.join(failed)}; the same command resumes")
        return 1
    runs, left_out = from_logs(args.logs, games, names)
    paths = matrix.paths()
    data = compare([run for run in runs if Path(run.name).absolute() in paths], left_out)
    out: Path = args.out or args.logs / "compare" / "benchmark"
    write_report(data, out)
    show(data)
    print(f"Report: {out / 'report.html'}")
    return 0


if __name__ == "__main__":
    options.main(command)
