"""`make dashboard`: show a study in the browser, or without one all runs: curves and films."""

import argparse

from custom.system.console import say
from custom.system.errors import UserError
from scripts import options

HOST = "127.0.0.1"  # whoever reaches it may change the study
PORT = {"type": options.whole(1, 65535), "default": 8080, "help": "of the page"}
FLAGS = ("game", "recipe", *options.STUDY, ("port", PORT))


def command(args: argparse.Namespace) -> None:
    """Find the study, serve until stopped."""
    _, folder = options.study_of(args)
    has_study = bool(args.study or args.storage) or (folder / "study.db").exists()
    study, url = options.load_study(args) if has_study else (None, "")
    shows = study.study_name if study else f"the runs in {args.logs}"
    say(f"http://{HOST}:{args.port} shows {shows}; Ctrl-C ends it")
    try:
        if study:
            from optuna_dashboard import run_server

            run_server(url, host=HOST, port=args.port)
        else:
            from custom.compare.dashboard import serve

            serve(args.logs, HOST, args.port)
    except OSError as error:
        raise UserError(f"--port {args.port}: cannot be used ({error.strerror})") from None


if __name__ == "__main__":
    options.main(command)
