"""`make benchmark`: games x recipes x seeds, trained, evaluated and compared."""

from __future__ import annotations

import argparse
from pathlib import Path

from custom.console import say
from custom.engine import PRECISIONS, Engine
from custom.errors import UserError
from custom.fanout.choose import launcher
from custom.fanout.task import Resources
from custom.games import Game, find_game
from custom.matrix import Cell, Matrix
from custom.recipes import load_recipe, recipe_name
from custom.workers import usable_cores
from scripts import options


def command(args: argparse.Namespace) -> int:
    """Train what is missing, then compare all of it."""
    from custom.compare.comparison import compare
    from custom.compare.from_logs import from_logs
    from custom.compare.output import write_report
    from custom.compare.tables import show

    matrix = matrix_of(args)
    failed = matrix.train(launcher(args.cluster, args.logs / "matrix"), args.jobs)
    if failed:
        say(f"{len(failed)} runs did not finish: {', '.join(failed)}; the same command goes on")
        return 1
    games = unique([cell.game for cell in matrix.cells])
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
    games = unique([find_game(name) for name in args.games.split()])
    recipes = list(dict.fromkeys(args.recipes.split()))
    for name, given in (("GAMES", games), ("RECIPES", recipes)):
        if not given:
            raise UserError(f"{name} is empty; write for one GAMES='Pong Breakout' RECIPES=dqn")
    names = [recipe_name(recipe) for recipe in recipes]
    if len(set(names)) < len(names):
        raise UserError(f"RECIPES: two are named {max(names, key=names.count)}; rename a file")
    return [
        Cell(game, load_recipe(recipe, game).with_budget(args.steps), seed)
        for seed in range(args.first_seed, args.first_seed + args.seeds)
        for game in games
        for recipe in recipes
    ]


def unique(games: list[Game]) -> list[Game]:
    """Each game once."""
    return list({game.env_id: game for game in games}.values())


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.benchmark", __doc__, "device")
    several, add = options.whole(1), made.add_argument
    add("--games", default="", help="e.g. 'Pong Breakout'")
    add("--recipes", default="dqn", help="e.g. 'dqn rainbow'")
    add("--seeds", type=several, default=5, help="of each game and recipe")
    add("--first-seed", type=options.whole(0), default=1, help="the others follow")
    add("--steps", type=several, help="budget of each run; default: the recipe's")
    add("--evaluations", type=several, default=20, help="during each run")
    add("--eval-episodes", type=several, default=10, help="full games of each of them")
    add("--envs", type=options.whole(1, 1024), help="games at once in each run")
    add("--precision", choices=PRECISIONS, default="float32", help="of the network")
    add("--out", type=Path, help="folder of the report; default: LOGS/compare/benchmark")
    options.add_fanout(made)
    return made


if __name__ == "__main__":
    options.main(parser, command)
