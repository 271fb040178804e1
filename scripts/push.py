"""`make push`: publish a run's agent on the Hugging Face Hub."""

from __future__ import annotations

import argparse

from custom.hub.client import client, log_in
from custom.hub.publish import build, check_visibility, prepare, push, title
from custom.runs import Run
from scripts import options

NOBODY = "your-name"  # on the card of a dry run, which asks nobody who you are


def parser() -> options.Parser:
    """Flags of the command."""
    flags = ("game", "recipe", "run", "device", "episodes", "model")
    made = options.shared_parser("scripts.push", __doc__, *flags)
    made.add_argument("--repo", default="", help="name or user/name; default: RECIPE-ENVIRONMENT")
    options.add_switch(made, "--private", "for you alone")
    options.add_switch(made, "--dry-run", "build the folder, send nothing")
    return made


def command(args: argparse.Namespace) -> None:
    """Log in, score, film, build, send."""
    run = options.find_run(args)
    run.model(args.model)  # nothing is asked for where there is no agent
    api = client()
    user = NOBODY if args.dry_run else log_in(api)
    repo = repository(user, args.repo, run)
    if not args.dry_run:
        check_visibility(api, repo, args.private)
    prepare(run, args.model, args.episodes, args.device)
    folder = build(run, args.model, repo)
    if args.dry_run:
        print(f"nothing is sent; this would become {repo}\nFolder: {folder}")
        return
    changed = push(api, repo, folder, title(run), args.private)
    print("one commit" if changed else "nothing has changed since the last commit: none is made")
    print(f"Agent: {api.endpoint}/{repo}")


def repository(user: str, named: str, run: Run) -> str:
    """``user/name`` of what REPO says, or of the recipe and the environment."""
    name = named or f"{run.facts['recipe']}-{run.game.folder_name}"
    return name if "/" in name else f"{user}/{name}"


if __name__ == "__main__":
    options.main(parser, command)
