"""`make evaluate`: the score of an agent, by the protocol of Mnih et al. 2015."""

from __future__ import annotations

from custom.evaluation import Protocol
from custom.results import EVALUATION_FILE, evaluate_run, score_table
from scripts import options


def command() -> None:
    """Parse, evaluate, print the table."""
    flags = ("game", "recipe", "run", "seed", "device", "episodes", "model", "epsilon")
    args = options.parser("scripts.evaluate", __doc__ or "", *flags).parse_args()
    run = options.find_run(args)
    protocol = Protocol(episodes=args.episodes, epsilon=args.epsilon, seed=args.seed or 0)
    result = evaluate_run(run, protocol, args.model, args.device)
    print(score_table(run, result))
    print(f"Evaluation: {run.path / EVALUATION_FILE}")


if __name__ == "__main__":
    options.main(command)
