"""`make pull`: bring in an agent of the Hugging Face Hub, or one that the zoo trained here."""

import argparse
import os.path
import shlex
from pathlib import Path

from scripts import options

FLAGS = (
    ("repo", {"default": "", "help": "the agent: user/name, or a folder on this machine"}),
    ("revision", {"default": "", "help": "branch, tag or commit; default: main"}),
)


def command(args: argparse.Namespace) -> None:
    """Pull, print what it is."""
    from custom.hub.foreign import bring_in, of_folder

    if os.path.isdir(args.repo):  # where Path.is_dir may raise
        run = bring_in(of_folder(Path(args.repo)), args.logs)
        source = args.repo
    else:
        from custom.hub.client import client
        from custom.hub.pull import pull

        run = pull(client(), args.repo, args.revision, args.logs)
        source = f"{args.repo} at {run.facts['pulled']['revision'][:12]}"
    facts = run.facts
    print(f"{source}: {facts['algo']} on {facts['env_id']}, {facts['steps']:,} steps")
    print(f"make evaluate RUN={shlex.quote(str(run.path))}")
    print(f"Run: {run.path}")


if __name__ == "__main__":
    options.main(command)
