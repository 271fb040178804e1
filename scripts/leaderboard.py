"""`make leaderboard`: the Hub's agents for a game and your own, ranked."""

import argparse

from custom.recipe.games import find_game
from scripts import options

TOP = {"type": options.whole(1), "default": 20, "help": "places that are shown"}
FLAGS = ("game", ("top", TOP))


def command(args: argparse.Namespace) -> None:
    """Ask the Hub, print the table."""
    game = find_game(args.game)
    from custom.hub.client import client
    from custom.hub.leaderboard import format_table, hub_entries, local_entries

    entries, unscored = hub_entries(client(), game)
    print(f"{game.env_id}, ranked by mean - std")
    print(format_table(entries, unscored, local_entries(game, args.logs), args.top))


if __name__ == "__main__":
    options.main(command)
