"""`make dashboard`: show a study in the browser."""

from __future__ import annotations

import argparse

from custom.console import say
from custom.errors import UserError
from scripts import options

HOST = "127.0.0.1"  # whoever reaches it may change the study


def command(args: argparse.Namespace) -> None:
    """Find the study, serve until stopped."""
    from optuna_dashboard import run_server

    from custom.tuning import storage, study

    name, folder = options.study_of(args)
    url = storage.address(args.storage, folder / "study.db")
    study.load(url, name)
    say(f"http://{HOST}:{args.port} shows {name}; Ctrl-C ends it")
    try:
        run_server(url, host=HOST, port=args.port)
    except OSError as error:
        raise UserError(f"--port {args.port}: cannot be used ({error.strerror})") from None


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.dashboard", __doc__, "game", "recipe")
    options.add_study(made)
    made.add_argument("--port", type=options.whole(1, 65535), default=8080)
    return made


if __name__ == "__main__":
    options.main(parser, command)
