"""`make resume`: resume an interrupted training."""

from __future__ import annotations

import argparse

from custom.console import say
from custom.training.resume import resume
from custom.training.train import train
from scripts import options


def command(args: argparse.Namespace) -> int:
    """Find the run, load its state, train the rest, report."""
    run = options.find_run(args)
    training = resume(run, args.device, args.threads)
    if (run.path / "wandb").is_dir():
        say("from here on it is not tracked on W&B")
    steps, total = training.model.num_timesteps, training.recipe.n_timesteps
    say(f"resuming at step {steps:,} of {total:,}, on {training.model.device}")
    return train(training, report_episodes=0 if args.no_report else args.episodes)


def parser() -> options.Parser:
    """Flags of the command."""
    flags = ("game", "recipe", "run", "device", "episodes")
    made = options.shared_parser("scripts.resume", __doc__, *flags)
    threads = options.whole(0, 256)
    made.add_argument("--threads", type=threads, help="of PyTorch on the CPU; default: as before")
    options.add_report(made)
    return made


if __name__ == "__main__":
    options.main(parser, command)
