"""`make leaderboard`: the Hub's agents for a game and your own, ranked."""

from __future__ import annotations

import argparse

from custom.hub.client import client
from custom.hub.leaderboard import format_table, local_entries, table_of
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.leaderboard", __doc__, "game")
    made.add_argument("--top", type=options.whole(1), default=20, help="places that are shown")
    made.add_argument("--refresh", action="store_true", help="ask the Hub, however new the table")
    return made


def command(args: argparse.Namespace) -> None:
    """Ask, print the table."""
    game = options.game_of(args)
    table = table_of(client(), game, args.logs, args.refresh)
    print(f"{game.env_id}, ranked by mean - std")
    print(format_table(table, local_entries(game, args.logs), args.top))


if __name__ == "__main__":
    options.main(parser, command)
