"""`make push`: a run's agent, scored, filmed and described, in one commit on the Hub."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.hf_api import ModelInfo

from custom.console import say
from custom.errors import UserError
from custom.evaluation import EPSILON, Protocol
from custom.hub.bundle import BROUGHT, is_an_agent, write_bundle
from custom.hub.card import TAG
from custom.hub.client import NotFoundError, StaleError, ask
from custom.results import EVALUATION_FILE, digest, evaluate_run
from custom.runs import Run
from custom.video import FILM_FACTS, record_run

ATTEMPTS = 5  # at a commit on what somebody else is changing


def check_repository(api: HfApi, repo: str, private: bool, agent: str) -> None:
    """Whether a repository is not there yet, or one of this project's for this agent.

    :param agent: name of its file there
    :raises UserError: it holds something else, or is public and is asked to be private
    """
    try:
        _check(ask(repo, lambda: api.model_info(repo)), private, agent)
    except NotFoundError:
        return


def _check(info: ModelInfo, private: bool, agent: str) -> None:
    names = [file.rfilename for file in info.siblings or []]
    others = [name for name in names if is_an_agent(name) and name != agent]
    if private and not info.private:
        raise UserError(
            f"{info.id} is there and public; make it private in its settings, or choose another"
            " REPO"
        )
    if others:
        raise UserError(f"{info.id} holds another agent, {others[0]}; choose another REPO")
    if "README.md" in names and TAG not in (info.tags or []):
        raise UserError(f"{info.id} holds a card that is not of this project; choose another REPO")


def prepare(run: Run, agent: Path, episodes: int, device: str = "auto") -> None:
    """Evaluate and film an agent of a run where that has not been done.

    :param episodes: full games that its evaluation must have at least
    :raises UserError: it is still learning, or cannot play
    """
    if run.is_locked():
        raise UserError(f"RUN {run.path}: is being trained; stop it first, or wait for its end")
    if not _is_evaluated(run, agent, episodes):
        say(f"{agent.name} has no fresh evaluation; full games that are played now: {episodes}")
        evaluate_run(run, Protocol(episodes=episodes), agent, device)
    if not _is_filmed(run, agent):
        say("filming a game")
        record_run(run, agent, device=device)


def _is_evaluated(run: Run, agent: Path, episodes: int) -> bool:
    """By the protocol, over enough games, with the agent as it is in its file."""
    try:
        found = json.loads((run.path / EVALUATION_FILE).read_text())
        made = Protocol(episodes=found["episodes"]).describe(run.game, run.hyperparams)
        enough = found["episodes"] >= episodes and found["protocol"] == made
        return bool(enough and found["sha256"] == digest(agent.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_filmed(run: Run, agent: Path) -> bool:
    try:
        found = json.loads((run.path / FILM_FACTS).read_text())
        fresh = found["sha256"] == digest(agent.read_bytes()) and found["epsilon"] == EPSILON
        return bool(fresh and (run.path / "replay.mp4").is_file())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def build(run: Run, agent: Path, repo: str) -> Path:
    """The folder that is pushed, ``hub`` in the run's; it is there whole or not at all.

    :param repo: ``user/name``
    """
    folder, made = run.path / "hub", run.path / f".hub-{secrets.token_hex(4)}"
    try:
        made.mkdir()
        write_bundle(made, run, agent, repo)
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
    agent = next(path.name for path in folder.iterdir() if is_an_agent(path.name))
    for _ in range(ATTEMPTS):
        head = ask(repo, lambda: api.model_info(repo))
        try:
            _check(head, private, agent)  # it may have come to be meanwhile
            return _commit(api, repo, folder, message, head)
        except StaleError:
            say(f"{repo} has changed meanwhile: looking at it again")
    raise UserError(f"{repo} keeps changing under this commit; the same command goes on later")


def _commit(api: HfApi, repo: str, folder: Path, message: str, head: ModelInfo) -> bool:
    local = sorted(path.name for path in folder.iterdir())
    names = [file.rfilename for file in head.siblings or []]
    gone = [name for name in names if name in BROUGHT and name not in local]
    adds = [CommitOperationAdd(name, folder / name) for name in local]
    # Apart from the commit: what has arrived need not be sent again when that is refused.
    ask(f"the upload to {repo}", lambda: api.preupload_lfs_files(repo, adds, free_memory=False))

    def send() -> str:
        deletes = [CommitOperationDelete(name) for name in gone]
        commit = api.create_commit(
            repo, [*adds, *deletes], commit_message=message, parent_commit=head.sha
        )
        return str(commit.oid)

    return ask(f"the commit to {repo}", send) != head.sha
