"""`make sync`: upload to Weights & Biases what was trained without it."""

import argparse
from pathlib import Path

from custom.runs.folder import open_run, open_runs
from custom.system.console import say
from scripts import options

FLAGS = (("run", {"type": Path, "help": "run folder; default: all in LOGS"}),)


def command(args: argparse.Namespace) -> int:
    """Find what is not uploaded yet, check the login, upload."""
    from custom.tracking.client import log_in
    from custom.tracking.tracker import unsent, upload

    runs, damaged = ([open_run(args.run)], {}) if args.run else open_runs(args.logs)
    failed = [text for folder, text in damaged.items() if (folder / "wandb").is_dir()]
    waiting = list(filter(unsent, runs))
    if waiting:
        log_in()
    else:
        say("nothing to upload")
    for run in waiting:
        if run.is_locked():
            say(f"{run.path}: is still being written; left for later")
            continue
        say(f"{run.path}: uploading")
        failed += [
            f"{folder}: not all was uploaded; repeat make sync, or delete the folder"
            for folder in upload(run)
        ]
    for text in failed:
        say(text)
    return 1 if failed else 0


if __name__ == "__main__":
    options.main(command)
