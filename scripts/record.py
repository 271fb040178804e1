"""`make record`: film one game of an agent."""

from __future__ import annotations

from custom.video import record_run
from scripts import options


def command() -> None:
    """Parse and film."""
    flags = ("game", "recipe", "run", "seed", "device", "model", "epsilon")
    args = options.parser("scripts.record", __doc__ or "", *flags).parse_args()
    run = options.find_run(args)
    film, gif, score = record_run(run, args.model, args.epsilon, args.seed or 0, args.device)
    print(f"a game of {score:.0f} points\nFilm: {film}\nGIF: {gif}")


if __name__ == "__main__":
    options.main(command)
