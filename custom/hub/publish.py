"""`make push`: a run's agent, scored, filmed and described, in one commit on the Hub."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.hf_api import RepoSibling

from custom.console import say
from custom.errors import UserError
from custom.evaluation import Protocol
from custom.hub.bundle import is_of_a_bundle, write_bundle
from custom.hub.client import NotFoundError, StaleError, ask
from custom.report import plot_run
from custom.results import EVALUATION_FILE, digest, evaluate_run
from custom.runs import Run
from custom.video import record_run

ATTEMPTS = 5  # at a commit on what somebody else is changing


def check_visibility(api: HfApi, repo: str, private: bool) -> None:
    """Whether a repository is as private as it is asked to be, or not there yet.

    :raises UserError: it is public already
    """
    try:
        info = ask(repo, lambda: api.model_info(repo))
    except NotFoundError:
        return
    if private and not info.private:
        raise UserError(
            f"{repo} is there and public; make it private in its settings, or choose another REPO"
        )


def prepare(run: Run, which: str, episodes: int, device: str = "auto") -> None:
    """Evaluate, film and plot what has not been, or not with this agent.

    :param which: ``final`` or ``best``
    :param episodes: full games that its evaluation must have at least
    :raises UserError: there is no agent, or it cannot play
    """
    agent = run.model(which)
    if not _is_evaluated(run, agent, episodes):
        say(f"{agent.name} has no fresh evaluation; full games that are played now: {episodes}")
        evaluate_run(run, Protocol(episodes=episodes), which, device)
    film = run.path / "replay.mp4"
    if not film.is_file() or film.stat().st_mtime < agent.stat().st_mtime:
        say("filming a game")
        record_run(run, which, device=device)
    try:
        plot_run(run)
    except UserError as error:
        say(f"no learning curve: {error}")


def _is_evaluated(run: Run, agent: Path, episodes: int) -> bool:
    """By the protocol, over enough games, with the agent as it is in its file."""
    try:
        found = json.loads((run.path / EVALUATION_FILE).read_text())
        made = Protocol(episodes=found["episodes"]).describe(run.game, run.hyperparams)
        enough = found["episodes"] >= episodes and found["protocol"] == made
        return bool(enough and found["sha256"] == digest(agent))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def build(run: Run, which: str, repo: str) -> Path:
    """The folder that is pushed, ``hub`` in the run's; it is there whole or not at all.

    :param repo: ``user/name``
    """
    folder, made = run.path / "hub", run.path / f".hub-{secrets.token_hex(4)}"
    try:
        made.mkdir()
        write_bundle(made, run, run.model(which), repo)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    except OSError as error:
        raise UserError(f"RUN {run.path}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def title(run: Run) -> str:
    """Of the commit."""
    found = json.loads((run.path / EVALUATION_FILE).read_text())
    what = f"{run.facts['recipe']} on {run.game.env_id}, {found['steps']:,} steps"
    return f"{what}: {found['mean']:.1f} ± {found['std']:.1f}"


def push(api: HfApi, repo: str, folder: Path, message: str, private: bool) -> bool:
    """Make a repository hold a folder, by one commit; what else is in it stays.

    Broken off at any point it can be called again: before the commit nothing is to be seen, and
    after it nothing is left to do.

    :return: whether anything had changed
    :raises UserError: the Hub refuses, or does not answer
    """
    card = ModelCard((folder / "README.md").read_text())
    try:
        ask("the check of the card", card.validate)
    except ValueError as error:
        raise UserError(f"{folder / 'README.md'}: the Hub refuses the card ({error})") from None
    ask(repo, lambda: api.create_repo(repo, private=private, exist_ok=True))
    for _ in range(ATTEMPTS):
        head = ask(repo, lambda: api.model_info(repo))
        try:
            return _commit(api, repo, folder, message, head.sha or "", head.siblings or [])
        except StaleError:
            say(f"{repo} has changed meanwhile: looking at it again")
    raise UserError(f"{repo} keeps changing under this commit; the same command goes on later")


def _commit(
    api: HfApi, repo: str, folder: Path, message: str, head: str, remote: list[RepoSibling]
) -> bool:
    local = sorted(path.name for path in folder.iterdir())
    names = [file.rfilename for file in remote]
    gone = [name for name in names if is_of_a_bundle(name) and name not in local]

    def send() -> str:
        adds = [CommitOperationAdd(name, folder / name) for name in local]
        deletes = [CommitOperationDelete(name) for name in gone]
        commit = api.create_commit(
            repo, [*adds, *deletes], commit_message=message, parent_commit=head
        )
        return str(commit.oid)

    return ask(f"the commit to {repo}", send) != head
