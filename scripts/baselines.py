"""`make baselines`: what random play and every single action bring in a game."""

import argparse
from typing import Any

from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from scripts import options

FLAGS = ("game", "recipe", "seed", "episodes")


def command(args: argparse.Namespace) -> None:
    """Play, keep the result for tables and plots."""
    game = find_game(args.game)
    recipe = load_recipe(args.recipe, game)
    from custom.evaluation.baselines import baselines_file, measure_baselines
    from custom.evaluation.protocol import Protocol

    protocol = Protocol(episodes=args.episodes, seed=args.seed or 0)
    print(f"{game.explain()}; full games of each: {args.episodes}")
    file = baselines_file(args.logs, recipe.name, game)
    best = measure_baselines(file, game, recipe.hyperparams, protocol, _tell)
    print(f"best single action: {best}")
    print(f"Baselines: {file}")


def _tell(name: str, summary: dict[str, Any]) -> None:
    from custom.evaluation.protocol import interval_text

    line = f"{name:<16} {summary['mean']:>9.1f} ± {summary['std']:.1f}"
    print(f"{line}  ({interval_text(summary)})", flush=True)


if __name__ == "__main__":
    options.main(command)
