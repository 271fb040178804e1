"""`make enjoy`: watch an agent play in a window."""

import argparse

from scripts import options

GAMES = {"type": options.whole(1), "default": 1, "help": "full games to play"}
FLAGS = (*options.A_RUN, "seed", "device", "model", "epsilon", ("games", GAMES))


def command(args: argparse.Namespace) -> None:
    """Play."""
    run, seed = options.find_run(args, or_agent=True), args.seed or 0
    device = options.check_device(args.device)
    from custom.evaluation.film import show_window

    score = show_window(run, args.model, args.epsilon, seed, device, args.games)
    print(f"{score:.0f} points" + (f" a game, over {args.games} games" if args.games > 1 else ""))


if __name__ == "__main__":
    options.main(command)
