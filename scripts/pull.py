"""`make pull`: fetch an agent from the Hugging Face Hub into a run folder."""

from __future__ import annotations

import argparse

from custom.hub.client import client
from custom.hub.pull import pull
from scripts import options


def parser() -> options.Parser:
    """Flags of the command."""
    made = options.shared_parser("scripts.pull", __doc__)
    made.add_argument("--repo", default="", help="the agent: user/name")
    made.add_argument("--revision", default="", help="branch, tag or commit; default: main")
    return made


def command(args: argparse.Namespace) -> None:
    """Pull, print what it is."""
    run = pull(client(), args.repo, args.revision, args.logs)
    facts, source = run.facts, run.facts["pulled"]
    steps = f"{facts['algo']} on {facts['env_id']}, {facts['steps']:,} steps"
    print(f"{source['repo']} at {source['revision'][:12]}: {steps}")
    print(f"make evaluate RUN={run.path}")
    print(f"Run: {run.path}")


if __name__ == "__main__":
    options.main(parser, command)
