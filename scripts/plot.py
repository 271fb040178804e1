"""`make plot`: the learning curve of a run."""

from __future__ import annotations

from custom.report import plot_run
from scripts import options


def command() -> None:
    """Parse and draw."""
    args = options.parser("scripts.plot", __doc__ or "", "game", "recipe", "run").parse_args()
    print(f"Plot: {plot_run(options.find_run(args))}")


if __name__ == "__main__":
    options.main(command)
