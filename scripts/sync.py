"""`make sync`: upload to Weights & Biases what was trained without it."""

from __future__ import annotations

import argparse
from pathlib import Path

from custom.recipe.games import find_game
from custom.runs.folder import Run, open_run
from custom.system.console import say
from custom.system.errors import UserError
from custom.tracking import sync
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.sync", __doc__)
    made.add_argument("--game", default="", help="runs of a game alone")
    made.add_argument("--recipe", default="", help="runs of a recipe alone")
    made.add_argument("--run", type=Path, help="run folder; default: all in LOGS")
    return made


def command(args: argparse.Namespace) -> int:
    """Look for what is not uploaded yet, ask who uploads, upload."""
    runs, damaged = _runs(args)
    waiting, running = sync.pending(runs)
    for run in running:
        say(f"{run.path}: is still written; left for later")
    for line in damaged:
        say(line)
    if not waiting:
        say("nothing to upload")
        return 1 if damaged else 0
    sync.check()
    failed = len(damaged)
    for run in waiting:
        say(f"{run.path}: uploading")
        try:
            number = sync.upload(run)
            said = f"uploaded to {sync.address(run)}"
            say(f"{run.path}: {said}" + (f" ({number} stretches)" if number > 1 else ""))
        except UserError as error:
            failed += 1
            say(f"{error}; make sync goes on later")
    return 1 if failed else 0


def _runs(args: argparse.Namespace) -> tuple[list[Run], list[str]]:
    if args.run is not None:
        return [open_run(args.run)], []
    game = find_game(args.game).env_id if args.game else ""
    return sync.all_runs(args.logs, game, args.recipe)


if __name__ == "__main__":
    options.main(parser, command)
