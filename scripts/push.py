"""`make push`: publish a run's agent on the Hugging Face Hub."""

from __future__ import annotations

import argparse
import re

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from custom.errors import UserError
from custom.hub.bundle import agent_name
from custom.hub.client import client, log_in
from custom.hub.publish import build, check_repository, prepare, push, title
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
    agent = run.model(args.model)  # nothing is asked for where there is none
    api = client()
    owners = [NOBODY] if args.dry_run else log_in(api)
    repo = repository(owners[0], args.repo, run)
    if not args.dry_run:
        check_owner(repo, owners)
        check_repository(api, repo, args.private, agent_name(run))
    prepare(run, agent, args.episodes, args.device)
    folder = build(run, agent, repo)
    if args.dry_run:
        print(f"nothing is sent; this would become {repo}\nFolder: {folder}")
        return
    changed = push(api, repo, folder, title(run), args.private)
    print("one commit" if changed else "nothing has changed since the last commit: none is made")
    print(f"Agent: {api.endpoint}/{repo}")


def repository(user: str, named: str, run: Run) -> str:
    """``user/name`` of what REPO says, or of the recipe and the environment."""
    if not named and "pulled" in run.facts:
        raise UserError(f"RUN {run.path}: came from the Hub; name a repository of yours with REPO")
    usual = f"{run.facts['recipe']}-{run.game.folder_name}"
    name = named or re.sub(r"--+|\.\.+", "-", usual)  # which the Hub does not take
    repo = name if "/" in name else f"{user}/{name}"
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"REPO {repo!r}: {error}; write REPO=user/name") from None
    return repo


def check_owner(repo: str, owners: list[str]) -> None:
    """Refuse other people's names, before games are played for nothing."""
    owner = repo.partition("/")[0]
    if owner not in owners:
        raise UserError(f"REPO {repo}: {owner} is none of yours, which are {', '.join(owners)}")


if __name__ == "__main__":
    options.main(parser, command)
