"""`make push`: a run's agent, evaluated, filmed and described, in one commit on the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelInfo
from huggingface_hub.errors import RepositoryNotFoundError

from custom.evaluation import EPSILON
from custom.evaluation.film import FILM_FACTS, record_run
from custom.evaluation.protocol import Protocol
from custom.evaluation.results import EVALUATION_FILE, digest, evaluate_run
from custom.hub.bundle import is_agent_file, write_bundle
from custom.hub.card import TAG
from custom.hub.client import hub_errors
from custom.runs.folder import Run
from custom.system.console import say
from custom.system.errors import UserError
from custom.system.files import atomic_folder


def check_repository(api: HfApi, repo: str, private: bool, agent: str) -> ModelInfo | None:
    """A repository, which is one of this project's for the same agent; None: it is new.

    :param agent: name of its file there
    :raises UserError: it holds something else, or is public and shall be private
    """
    with hub_errors(repo):
        try:
            info = api.model_info(repo)
        except RepositoryNotFoundError:
            return None
    names = [file.rfilename for file in info.siblings or []]
    others = [name for name in names if is_agent_file(name) and name != agent]
    if private and not info.private:
        reason = "is public; make it private in its settings, or choose another REPO"
        raise UserError(f"{repo}: {reason}")
    if others:
        raise UserError(f"{repo}: holds another agent, {others[0]}; choose another REPO")
    if "README.md" in names and TAG not in (info.tags or []):
        raise UserError(f"{repo}: holds a card of another project; choose another REPO")
    return info


def prepare(run: Run, agent: Path, episodes: int, device: str = "auto") -> None:
    """Evaluate and film an agent of a run, unless that has been done.

    :param episodes: full games that its evaluation must have at least
    :raises UserError: it is being trained, or cannot play
    """
    if run.is_locked():
        raise UserError(f"RUN {run.path}: is being trained; stop it, or wait until it finishes")
    if not _is_evaluated(run, agent, episodes):
        say(f"no evaluation of {agent.name} as it is now: playing {episodes} full games")
        evaluate_run(run, Protocol(episodes=episodes), agent, device)
    if not _is_filmed(run, agent):
        say("filming a game")
        record_run(run, agent, device=device)


def _is_evaluated(run: Run, agent: Path, episodes: int) -> bool:
    """Whether this very file was evaluated by the protocol, over enough games."""
    said = _said_of(agent, run.path / EVALUATION_FILE)
    if said.get("episodes", 0) < episodes:
        return False
    protocol = Protocol(episodes=said["episodes"]).describe(run.game, run.hyperparams)
    return bool(said.get("protocol") == protocol)


def _is_filmed(run: Run, agent: Path) -> bool:
    """Whether the film shows this very file at the protocol's epsilon."""
    said = _said_of(agent, run.path / FILM_FACTS)
    return said.get("epsilon") == EPSILON and (run.path / "replay.mp4").is_file()


def _said_of(agent: Path, file: Path) -> dict[str, Any]:
    """What a JSON file says of an agent as it is now; empty where it is of another one."""
    try:
        said: dict[str, Any] = json.loads(file.read_text())
        return said if said["sha256"] == digest(agent.read_bytes()) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def build(run: Run, agent: Path, repo: str) -> Path:
    """Write the folder that is pushed, ``hub`` in the run's.

    :param repo: ``user/name``
    """
    folder = run.path / "hub"
    try:
        with atomic_folder(folder) as partial:
            write_bundle(partial, run, agent, repo)
    except OSError as error:
        raise UserError(f"RUN {run.path}: cannot be written ({error.strerror})") from None
    return folder


def title(run: Run) -> str:
    """The title of the commit."""
    evaluation = json.loads((run.path / EVALUATION_FILE).read_text())
    what = f"{run.facts['recipe']} on {run.game.env_id}, {evaluation['steps']:,} steps"
    return f"{what}: {evaluation['mean']:.1f} ± {evaluation['std']:.1f}"


def push(api: HfApi, repo: str, folder: Path, message: str, private: bool) -> bool:
    """Make a repository hold a folder, by one commit; other files in it stay.

    An interrupted push leaves an empty repository at most. The next one completes it.

    :return: whether anything had changed
    :raises UserError: the Hub refuses, or does not answer
    """
    [agent] = (path.name for path in folder.iterdir() if is_agent_file(path.name))
    with hub_errors(repo):
        api.create_repo(repo, private=private, exist_ok=True)
    head = check_repository(api, repo, private, agent)
    assert head is not None
    with hub_errors(f"commit to {repo}"):
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=message, parent_commit=head.sha
        )
    return commit.oid != head.sha
