"""`make dashboard`: show a study in the browser."""

from __future__ import annotations

import argparse

from custom.system.console import say
from custom.system.errors import UserError
from scripts import options

HOST = "127.0.0.1"  # whoever reaches it may change the study
PORT = {"type": options.whole(1, 65535), "default": 8080, "help": "of the page"}
FLAGS = ("game", "recipe", *options.STUDY, ("port", PORT))


def command(args: argparse.Namespace) -> None:
    """Find the study, serve until stopped."""
    study, url = options.load_study(args)
    from optuna_dashboard import run_server

    say(f"http://{HOST}:{args.port} shows {study.study_name}; Ctrl-C ends it")
    try:
        run_server(url, host=HOST, port=args.port)
    except OSError as error:
        raise UserError(f"--port {args.port}: cannot be used ({error.strerror})") from None


if __name__ == "__main__":
    options.main(command)
