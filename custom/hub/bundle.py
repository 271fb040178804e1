"""The folder that is pushed: an agent in as few bytes as play needs, and how it was trained.

``rl_zoo3.load_from_hub`` can read it. The same run gives the same bytes, so that a second push
changes nothing.
"""

from __future__ import annotations

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

from custom.evaluation.plot import draw
from custom.evaluation.results import EVALUATION_FILE, digest
from custom.hub.card import model_card
from custom.hub.client import without_token
from custom.recipe.classes import PLAYERS
from custom.runs.folder import Run
from custom.runs.zoo_files import write_zoo_files
from custom.system.console import say
from custom.system.errors import UserError

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


def write_bundle(folder: Path, run: Run, agent: Path, repo: str) -> None:
    """Fill an empty folder with everything that is pushed.

    :param agent: the run's agent that is published; it has been evaluated and filmed
    :param repo: ``user/name``, for the commands on the card
    :raises UserError: a text in it holds a token, or the agent is not the one that was evaluated
    """
    name, content = agent_name(run), agent.read_bytes()
    evaluation = json.loads((run.path / EVALUATION_FILE).read_text())
    if digest(content) != evaluation["sha256"]:
        raise UserError(f"{agent}: has changed since it was evaluated; push it again")
    (folder / name).write_bytes(agent_for_play(content))
    write_zoo_files(run, folder)
    (folder / "env_kwargs.yml").write_text(yaml.safe_dump(run.env_kwargs))
    (folder / VEC_NORMALIZE).write_text(NO_STATISTICS)
    metrics = {name: run.path / name for name in METRICS if (run.path / name).is_file()}
    contents = {name: path.read_bytes() for name, path in metrics.items()}
    (folder / "train_eval_metrics.zip").write_bytes(_zip(contents))
    for copied in COPIED:
        shutil.copyfile(run.path / copied, folder / copied)
    curve = _draw(run, folder / "learning_curve.png")
    model_card(run, evaluation, repo, name, curve).save(folder / "README.md")
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
    online = OrderedDict((name, weights[name.replace("_target.", ".")]) for name in weights)
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
