"""`make leaderboard`: the Hub's agents for a game and your own, ranked."""

from __future__ import annotations

import argparse

from custom.hub.client import client
from custom.hub.leaderboard import format_table, hub_entries, local_entries
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.leaderboard", __doc__, "game")
    made.add_argument("--top", type=options.whole(1), default=20, help="places that are shown")
    return made


def command(args: argparse.Namespace) -> None:
    """Ask, print the table."""
    game = options.game_of(args)
    entries, unscored = hub_entries(client(), game)
    print(f"{game.env_id}, ranked by mean - std")
    print(format_table(entries, unscored, local_entries(game, args.logs), args.top))


if __name__ == "__main__":
    options.main(parser, command)
