"""The folder that goes to the Hub: an agent in as few bytes as play needs, and where it comes from.

Its form is the one that the zoo's ``load_from_hub`` reads. The same run gives the same bytes, so
that pushing it twice changes nothing.
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

from custom.console import say
from custom.errors import UserError
from custom.hub.card import model_card
from custom.hub.client import without_token
from custom.hub.safe_files import MEMBERS
from custom.hub.sources import METRICS
from custom.hub.zoo_files import args_yml, config_yml
from custom.recipe.classes import PLAYERS
from custom.report import draw
from custom.results import EVALUATION_FILE, digest
from custom.runs import Run

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
# The zoo's load_from_hub asks for statistics of observations and ends where there is no such file;
# its other commands open it only where a recipe normalizes.
VEC_NORMALIZE = "vec_normalize.pkl"
NO_STATISTICS = (
    "No pickle: nothing is normalized. rl_zoo3.load_from_hub asks for a file of this name.\n"
)
FACTS = (  # of run.json
    "game",
    "env_id",
    "recipe",
    "algo",
    "seed",
    "n_timesteps",
    "exploration_steps",
    "notes",
    "engine",
    "frame_skip",
    "steps",
    "state",
    "started",
    "finished",
    "wall_clock_seconds",
    "git_revision",
    "python",
    "hardware",
    "resumed",
)
PACKAGES = (
    "ale-py",
    "gymnasium",
    "numpy",
    "rl_zoo3",
    "sb3-atari-dqn",
    "sb3_contrib",
    "stable_baselines3",
    "torch",
)
TEXTS = (".json", ".md", ".yml")
COPIED = ("recipe.yml", EVALUATION_FILE, "replay.mp4")
CURVE = "learning_curve.png"
# What a push may take away again; the agent is always there.
BROUGHT = {*COPIED, CURVE, METRICS, VEC_NORMALIZE, "README.md", "run.json"}
BROUGHT |= {"args.yml", "config.yml", "env_kwargs.yml"}


def write_bundle(folder: Path, run: Run, agent: Path, repo: str) -> None:
    """Fill an empty folder with everything that is pushed.

    :param agent: the run's agent that is published; evaluated, filmed and plotted
    :param repo: ``user/name``, for the commands on the card
    :raises UserError: a text in it holds a token, or the agent is not the one that was evaluated
    """
    name = agent_name(run)
    evaluation = json.loads((run.path / EVALUATION_FILE).read_text())
    facts = public_facts(run.facts)
    content = agent.read_bytes()
    if digest(content) != evaluation["sha256"]:
        raise UserError(f"{agent}: has changed since it was evaluated; push it again")
    (folder / name).write_bytes(agent_for_play(content))
    (folder / "config.yml").write_text(config_yml(run))
    (folder / "args.yml").write_text(args_yml(run))
    (folder / "env_kwargs.yml").write_text(yaml.safe_dump(dict(run.game.env_kwargs)))
    (folder / VEC_NORMALIZE).write_text(NO_STATISTICS)
    (folder / METRICS).write_bytes(_metrics(run))
    for copied in COPIED:
        shutil.copyfile(run.path / copied, folder / copied)
    (folder / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
    curve = _draw(run, folder / CURVE)
    card = model_card(run, facts, evaluation, repo, name, curve)
    card.save(folder / "README.md")
    for path in sorted(folder.iterdir()):
        if path.suffix in TEXTS and without_token(path.read_text()) != path.read_text():
            raise UserError(f"{path.name} of RUN {run.path} would publish a token; remove it there")


def agent_name(run: Run) -> str:
    """Of the agent's file in a repository, as the zoo has it."""
    return f"{run.facts['algo']}-{run.game.folder_name}.zip"


def is_an_agent(name: str) -> bool:
    """Whether a file of a repository is an agent, by its name."""
    return re.fullmatch(rf"({'|'.join(PLAYERS)})-[\w.-]+\.zip", name) is not None


def _draw(run: Run, file: Path) -> bool:
    """The learning curve, where there is anything to draw."""
    try:
        draw(run).savefig(file, format="png")
        return True
    except UserError as error:
        say(f"no learning curve: {error}")
        return False


def public_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """What run.json says of the training, without paths and what else is installed."""
    installed = facts.get("packages", {})
    kept = {key: facts[key] for key in FACTS if key in facts}
    return kept | {"packages": {key: installed[key] for key in PACKAGES if key in installed}}


def agent_for_play(content: bytes) -> bytes:
    """An agent's zip without what playing does not need.

    The weights and hyperparameters are those of the training. The target network becomes the
    online one, which PyTorch writes once, and the optimizer one that has made no step. Nothing in
    it is unpickled but tensors.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(made, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "data":
                data = json.loads(content)
                kept = {key: data[key] for key in data if key not in OF_THE_MACHINE}
                content = json.dumps(kept, indent=4).encode()
            elif name == "policy.pth":
                content = _written(_one_network(_read(content)))
            elif name == "policy.optimizer.pth":
                content = _written({**_read(content), "state": {}})
            _add(target, name, content)
    return made.getvalue()


def _one_network(weights: OrderedDict[str, th.Tensor]) -> OrderedDict[str, th.Tensor]:
    """Target networks as the networks that they follow: ``q_net_target.x`` is ``q_net.x``."""
    return OrderedDict((name, weights[name.replace("_target.", ".")]) for name in weights)


def _read(content: bytes) -> Any:
    return th.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _written(content: Any) -> bytes:
    made = io.BytesIO()
    th.save(content, made)
    return made.getvalue()


def _metrics(run: Run) -> bytes:
    """What a learning curve is drawn from, in the archive that the zoo asks for."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in MEMBERS:
            if (run.path / name).is_file():
                _add(archive, name, (run.path / name).read_bytes())
    return made.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Without the time of day, which would make every archive another one."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
