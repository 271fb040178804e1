"""`make push`: a run's agent, evaluated, filmed and described, in one commit on the Hub.

The agent has as few bytes as play needs, ``rl_zoo3.load_from_hub`` can read the folder, and the
same run gives the same bytes, so that a second push changes nothing.
"""

import hashlib
import io
import json
import re
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch as th
import yaml
from huggingface_hub import HfApi, ModelInfo
from huggingface_hub.errors import RepositoryNotFoundError

from custom.evaluation import EPSILON
from custom.evaluation.film import FILM_FACTS, record_run
from custom.evaluation.onnx import ONNX_FILE
from custom.evaluation.plot import draw
from custom.evaluation.protocol import Protocol
from custom.evaluation.results import EVALUATION_FILE, evaluate_run
from custom.hub.card import TAG, model_card
from custom.hub.client import hub_errors, without_token
from custom.hub.leaderboard import Entry, entry_of
from custom.recipe.classes import PLAYERS
from custom.runs.folder import Run
from custom.runs.zoo_files import write_zoo_files
from custom.system.console import say
from custom.system.errors import UserError
from custom.system.files import atomic_folder
from custom.system.manifest import checksum

OF_THE_MACHINE = (  # in the zip's data: where and when it was trained, not what
    "_last_episode_starts",
    "_last_obs",
    "_last_original_obs",
    "_logger",
    "ep_info_buffer",
    "ep_success_buffer",
    "start_time",
    "tensorboard_log",
)
# rl_zoo3.load_from_hub stops where there is no file of this name. The zoo's other commands open it
# only for recipes that normalize.
VEC_NORMALIZE = "vec_normalize.pkl"
NO_STATISTICS = (
    "No pickle: nothing is normalized. rl_zoo3.load_from_hub asks for a file of this name.\n"
)
TEXTS = (".json", ".md", ".yml")
COPIED = ("recipe.yml", EVALUATION_FILE, "replay.mp4")
OPTIMIZER = "policy.optimizer.pth"
METRICS = ("evaluations.npz", "training_games.csv")


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


def check_score(info: ModelInfo, run: Run, replace: bool) -> None:
    """Say which score replaces which in a repository.

    :param replace: a better one, too
    :raises UserError: the agent there has a higher mean - std
    """
    there, said = entry_of(info), json.loads((run.path / EVALUATION_FILE).read_text())
    here = Entry(str(run.path), run.facts["recipe"], said["mean"], said["std"])
    if there is None or (there.mean, there.std) == (round(here.mean, 2), round(here.std, 2)):
        return
    ours, theirs = (f"{of.mean:.1f} ± {of.std:.1f}" for of in (here, there))
    if there.rank_by > here.rank_by and not replace:
        said = f"holds a better agent ({theirs} points; yours: {ours})"
        raise UserError(f"{info.id}: {said}; name another REPO, or add --replace")
    say(f"{info.id}: {ours} points replace {theirs}")


def prepare(run: Run, agent: Path, episodes: int, device: str = "auto") -> None:
    """Evaluate and film an agent of a run, unless that has been done.

    :param episodes: full games that its evaluation must have at least
    :raises UserError: it is being trained, or cannot play
    """
    if run.is_locked():
        raise UserError(f"RUN {run.path}: is being trained; stop it, or wait until it finishes")
    if not _is_evaluated(run, agent, episodes):
        say(f"{agent.name} was not evaluated, or has changed since; full games: {episodes}")
        evaluate_run(run, Protocol(episodes=episodes), agent, device)
    if not _is_filmed(run, agent):
        say("filming a game")
        record_run(run, agent, device=device)


def _is_evaluated(run: Run, agent: Path, episodes: int) -> bool:
    """Whether this very file was evaluated by the protocol, over enough games."""
    said = said_of(agent, run.path / EVALUATION_FILE)
    if said.get("episodes", 0) < episodes:
        return False
    protocol = Protocol(episodes=said["episodes"]).describe(run.game, run.hyperparams)
    return bool(said.get("protocol") == protocol)


def _is_filmed(run: Run, agent: Path) -> bool:
    """Whether the film shows this very file at the protocol's epsilon."""
    said = said_of(agent, run.path / FILM_FACTS)
    return said.get("epsilon") == EPSILON and (run.path / "replay.mp4").is_file()


def said_of(agent: Path, file: Path) -> dict[str, Any]:
    """What a JSON file says of an agent as it is now; empty where it is of another one."""
    try:
        said: dict[str, Any] = json.loads(file.read_text())
        return said if said["sha256"] == checksum(agent) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def build(run: Run, agent: Path, repo: str, onnx: bool = False) -> Path:
    """Write the folder that is pushed, ``hub`` in the run's.

    :param repo: ``user/name``
    :param onnx: with ``agent.onnx``, which is in the run's folder
    """
    folder = run.path / "hub"
    with atomic_folder(folder) as partial:
        write_bundle(partial, run, agent, repo, onnx)
    return folder


def write_bundle(folder: Path, run: Run, agent: Path, repo: str, onnx: bool = False) -> None:
    """Fill an empty folder with everything that is pushed.

    :param agent: the run's agent that is published; it has been evaluated and filmed
    :param repo: ``user/name``, for the commands on the card
    :raises UserError: a text in it holds a token, or the agent is not the one that was evaluated
    """
    name, content = agent_name(run), agent.read_bytes()
    evaluation = json.loads((run.path / EVALUATION_FILE).read_text())
    if hashlib.sha256(content).hexdigest() != evaluation["sha256"]:
        raise UserError(f"{agent}: has changed since it was evaluated; push it again")
    (folder / name).write_bytes(agent_for_play(content))
    write_zoo_files(run, folder)
    (folder / "env_kwargs.yml").write_text(yaml.safe_dump(run.env_kwargs))
    (folder / VEC_NORMALIZE).write_text(NO_STATISTICS)
    metrics = {name: run.path / name for name in METRICS if (run.path / name).is_file()}
    contents = {name: path.read_bytes() for name, path in metrics.items()}
    (folder / "train_eval_metrics.zip").write_bytes(_zip(contents))
    for copied in (*COPIED, ONNX_FILE) if onnx else COPIED:
        shutil.copyfile(run.path / copied, folder / copied)
    curve = _draw(run, folder / "learning_curve.png")
    model_card(run, evaluation, repo, name, curve, onnx).save(folder / "README.md")
    for path in sorted(folder.iterdir()):
        if path.suffix in TEXTS and without_token(path.read_text()) != path.read_text():
            raise UserError(f"{path.name} of RUN {run.path} would publish a token; remove it there")


def agent_name(run: Run) -> str:
    """The name of the agent's file in a repository, as the zoo has it."""
    return f"{run.facts['algo']}-{run.game.folder_name}.zip"


def is_agent_file(name: str) -> bool:
    """Whether a file of a repository is an agent, by its name."""
    return re.fullmatch(rf"({'|'.join(PLAYERS)})-[\w.-]+\.zip", name) is not None


def agent_for_play(content: bytes) -> bytes:
    """An agent's zip without what only training needs.

    Weights and hyperparameters stay. The target network becomes a copy of the online network, which
    PyTorch writes once, and the optimizer has made no step. Only tensors are unpickled.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {name: source.read(name) for name in sorted(source.namelist())}
    data = json.loads(members["data"])
    kept = {key: data[key] for key in data if key not in OF_THE_MACHINE}
    members["data"] = json.dumps(kept, indent=4).encode()
    weights, optimizer = (_loaded(members[name]) for name in ("policy.pth", OPTIMIZER))
    online = OrderedDict(
        (name, weights[re.sub(r"^(\w+?)_target\.", r"\1.", name)]) for name in weights
    )
    members["policy.pth"] = _saved(online)
    members[OPTIMIZER] = _saved({**optimizer, "state": {}})
    return _zip(members)


def _loaded(content: bytes) -> Any:
    return th.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _saved(content: Any) -> bytes:
    file = io.BytesIO()
    th.save(content, file)
    return file.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    """An archive without the time of day, which would change its bytes at each push."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _draw(run: Run, file: Path) -> bool:
    """Draw the learning curve, if there is anything to draw; whether there was."""
    try:
        draw(run).savefig(file, format="png")
    except UserError as error:
        say(f"no learning curve: {error}")
        return False
    return True


def title(run: Run) -> str:
    """The title of the commit."""
    evaluation = json.loads((run.path / EVALUATION_FILE).read_text())
    what = f"{run.facts['recipe']} on {run.game.env_id}, {evaluation['steps']:,} steps"
    return f"{what}: {evaluation['mean']:.1f} ± {evaluation['std']:.1f}"


def push(api: HfApi, repo: str, folder: Path, message: str, private: bool) -> bool:
    """Make a repository hold a folder, by one commit; other files in it stay, but no old ONNX.

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
            repo_id=repo,
            folder_path=folder,
            commit_message=message,
            parent_commit=head.sha,
            delete_patterns=ONNX_FILE,
        )
    return commit.oid != head.sha
