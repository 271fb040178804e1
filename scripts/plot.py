"""`make plot`: the learning curve of a run."""

import argparse

from scripts import options

FLAGS = options.A_RUN


def command(args: argparse.Namespace) -> None:
    """Draw."""
    run = options.find_run(args)
    from custom.evaluation.plot import plot_run

    print(f"Plot: {plot_run(run)}")


if __name__ == "__main__":
    options.main(command)
