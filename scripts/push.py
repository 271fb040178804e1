"""`make push`: publish a run's agent on the Hugging Face Hub."""

import argparse
import re

from custom.runs.folder import Run
from custom.system.console import say
from custom.system.errors import UserError
from scripts import options

FEW = 10  # games of a score
NOBODY = "your-name"  # on the card of a dry run, which does not log in
FLAGS = (
    *(*options.A_RUN, "device", "episodes", "model"),
    ("repo", {"default": "", "help": "name or user/name; default: RECIPE-ENVIRONMENT"}),
    ("private", options.switch("only you can see it")),
    ("replace", {"action": "store_true", "help": "also an agent that scores better"}),
    ("onnx", options.switch("with agent.onnx, as make export writes it")),
    ("dry-run", options.switch("build the folder, send nothing")),
)


def command(args: argparse.Namespace) -> None:
    """Log in, evaluate, film, build, push."""
    run = options.find_run(args)
    agent, device = run.model(args.model), options.check_device(args.device)
    from custom.evaluation.onnx import export_onnx
    from custom.hub import publish
    from custom.hub.client import client, log_in

    api = client()
    owners = [NOBODY] if args.dry_run else log_in(api)
    repo, there = repository(owners[0], args.repo, run), None
    if not args.dry_run:
        check_owner(repo, owners)
        there = publish.check_repository(api, repo, args.private, publish.agent_name(run))
    if args.episodes < FEW:
        say(f"EPISODES={args.episodes} says little; leaderboards expect {FEW} or more")
    if args.onnx:
        export_onnx(run, agent)
    publish.prepare(run, agent, args.episodes, device)
    if there:
        publish.check_score(there, run, args.replace)
    folder = publish.build(run, agent, repo, args.onnx)
    if args.dry_run:
        print(f"nothing is pushed; this would become {repo}\nFolder: {folder}")
        return
    changed = publish.push(api, repo, folder, publish.title(run), args.private)
    print("one commit" if changed else "no commit: nothing has changed since the last one")
    print(f"Agent: {api.endpoint}/{repo}")


def repository(user: str, named: str, run: Run) -> str:
    """``user/name`` from REPO, or from the recipe and the environment."""
    if not named and "pulled" in run.facts:
        raise UserError(f"RUN {run.path}: was not trained here; name your repository with REPO")
    recipe = re.sub(r"[^\w.-]+", "-", run.facts["recipe"])  # changed values stand behind its name
    default = f"{recipe}-{run.game.folder_name}"
    name = named or re.sub(r"--+|\.\.+", "-", default)  # the Hub refuses -- and ..
    return name if "/" in name else f"{user}/{name}"


def check_owner(repo: str, owners: list[str]) -> None:
    """Refuse a name that this token cannot write to, before any game is played."""
    owner = repo.partition("/")[0]
    if owner not in owners:
        raise UserError(f"REPO {repo}: you can push to {', '.join(owners)}, not to {owner}")


if __name__ == "__main__":
    options.main(command)
