"""`make evaluate`: the score of an agent, from full games at a stated epsilon."""

import argparse

from scripts import options

FLAGS = (*options.A_RUN, "seed", "device", "episodes", "model", "epsilon")


def command(args: argparse.Namespace) -> None:
    """Evaluate, print the table."""
    run = options.find_run(args, or_agent=True)
    agent, device = run.model(args.model), options.check_device(args.device)
    from custom.evaluation.protocol import Protocol
    from custom.evaluation.results import EVALUATION_FILE, evaluate_run, score_table

    protocol = Protocol(episodes=args.episodes, epsilon=args.epsilon, seed=args.seed or 0)
    print(score_table(run, evaluate_run(run, protocol, agent, device)))
    print(f"Evaluation: {run.path / EVALUATION_FILE}")


if __name__ == "__main__":
    options.main(command)
