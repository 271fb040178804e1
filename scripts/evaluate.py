"""`make evaluate`: the score of an agent, from full games at a stated epsilon."""

from __future__ import annotations

import argparse

from custom.evaluation import Protocol
from custom.results import EVALUATION_FILE, evaluate_run, score_table
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    flags = ("game", "recipe", "run", "seed", "device", "episodes", "model", "epsilon")
    return options.shared_parser("scripts.evaluate", __doc__, *flags)


def command(args: argparse.Namespace) -> None:
    """Evaluate, print the table."""
    run = options.find_run(args)
    protocol = Protocol(episodes=args.episodes, epsilon=args.epsilon, seed=args.seed or 0)
    result = evaluate_run(run, protocol, run.model(args.model), args.device)
    print(score_table(run, result))
    print(f"Evaluation: {run.path / EVALUATION_FILE}")


if __name__ == "__main__":
    options.main(parser, command)
