"""`make sync`: upload to Weights & Biases what was trained without it."""

from __future__ import annotations

import argparse
from pathlib import Path

from custom.runs.folder import Run, open_run, open_runs
from custom.system.console import say
from scripts import options

FLAGS = (("run", {"type": Path, "help": "run folder; default: all in LOGS"}),)


def command(args: argparse.Namespace) -> int:
    """Find what is not uploaded yet, check the login, upload."""
    from custom.tracking import sync
    from custom.tracking.session import unsent

    runs, damaged = ([open_run(args.run)], {}) if args.run else open_runs(args.logs)
    failed = [text for folder, text in damaged.items() if (folder / "wandb").is_dir()]
    for text in failed:
        say(text)
    waiting: list[Run] = []
    for run in filter(unsent, runs):
        if run.is_locked():
            say(f"{run.path}: is still being written; left for later")
        else:
            waiting.append(run)
    if waiting:
        sync.check()
    else:
        say("nothing to upload")
    for run in waiting:
        say(f"{run.path}: uploading")
        for folder in sync.upload(run):
            failed.append(folder)
            say(f"{folder}: not all was uploaded; repeat make sync, or delete the folder")
    return 1 if failed else 0


if __name__ == "__main__":
    options.main(command)
