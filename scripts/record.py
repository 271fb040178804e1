"""`make record`: film one game of an agent."""

import argparse

from custom.system.console import say
from scripts import options

FLAGS = (
    *(*options.A_RUN, "seed", "device", "model", "epsilon"),
    ("actions", options.switch("the values of the actions beside the game")),
)


def command(args: argparse.Namespace) -> None:
    """Film."""
    run, seed = options.find_run(args, or_agent=True), args.seed or 0
    agent, device = run.model(args.model), options.check_device(args.device)
    from custom.evaluation.film import record_run

    say("filming a game; this takes a minute or two")
    film, gif, speed, score = record_run(run, agent, args.epsilon, seed, device, args.actions)
    print(f"a game of {score:.0f} points\nFilm: {film}\nGIF, at {speed} times its speed: {gif}")


if __name__ == "__main__":
    options.main(command)
