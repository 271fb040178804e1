"""`make resume`: resume an interrupted training."""

import argparse

from custom.system.console import say
from scripts import options

FLAGS = (*options.A_RUN, "device", "episodes", "no-report")


def command(args: argparse.Namespace) -> int:
    """Find the run, load its state, train the rest, report."""
    run = options.find_run(args)
    device = options.check_device(args.device)
    from custom.training.resume import resume
    from custom.training.train import train

    training = resume(run, device)
    steps, total = training.model.num_timesteps, training.recipe.n_timesteps
    say(f"resuming at step {steps:,} of {total:,}, on {training.model.device}")
    return train(training, report_episodes=0 if args.no_report else args.episodes)


if __name__ == "__main__":
    options.main(command)
