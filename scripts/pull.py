"""`make pull`: fetch an agent from the Hugging Face Hub into a run folder."""

from __future__ import annotations

import argparse

from scripts import options

FLAGS = (
    ("repo", {"default": "", "help": "the agent: user/name"}),
    ("revision", {"default": "", "help": "branch, tag or commit; default: main"}),
)


def command(args: argparse.Namespace) -> None:
    """Pull, print what it is."""
    from custom.hub.client import client
    from custom.hub.pull import pull

    run = pull(client(), args.repo, args.revision, args.logs)
    facts, source = run.facts, run.facts["pulled"]
    steps = f"{facts['algo']} on {facts['env_id']}, {facts['steps']:,} steps"
    print(f"{source['repo']} at {source['revision'][:12]}: {steps}")
    print(f"make evaluate RUN={run.path}")
    print(f"Run: {run.path}")


if __name__ == "__main__":
    options.main(command)
