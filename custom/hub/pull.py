"""`make pull`: an agent of the Hub as a run folder, without running a line of its code.

Only files of known names come, each within a limit; each is read once, checked, and written anew or
copied from memory. The agent itself is built here and saved anew, so that nothing pickled by others
stays on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from stable_baselines3.common.base_class import BaseAlgorithm

from custom.agents import save_agent, unpickled_agent
from custom.atomic import atomic_file
from custom.console import say
from custom.envs import frame_skip
from custom.errors import UserError
from custom.hub.safe_files import CHECKS, MEMBERS, facts_of
from custom.hub.sources import METRICS, Source, download, find_source
from custom.hub.zoo_files import (
    UNKNOWN_SEED,
    args_yml,
    config_yml,
    recipe_of,
    recipe_of_agent,
    seed_of,
)
from custom.recipe.recipe import Recipe
from custom.runs import Run, claim_folder, open_run
from custom.safe_agents import safe_agent, spaces_of
from custom.safe_zip import Archive

WORKPLACE = ".pull-"
OPT_IN = "TRUST=1 loads it with pickle, which can run any code in it"


def pull(api: HfApi, repo: str, revision: str, logs: Path, trust: bool = False) -> Run:
    """Fetch an agent and make a run folder of it, or leave nothing behind.

    :param repo: ``user/name``
    :param revision: branch, tag or commit; empty: main
    :param trust: load the agent with pickle, whatever is in it
    :raises UserError: it cannot be had, or is refused
    """
    source = find_source(api, repo, revision)
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with _workplace(logs) as folder:
            files = download(api, source, folder)
            made = folder / "run"
            made.mkdir()
            _fill(made, source, files, folder / source.agent, trust)
            claimed = claim_folder(logs / source.recipe / source.algo, source.game.folder_name)
            made.rename(claimed)  # which is empty
        return open_run(claimed)
    except OSError as error:
        raise UserError(f"LOGS {logs}: cannot be written ({error.strerror or error})") from None


@contextlib.contextmanager
def _workplace(logs: Path) -> Iterator[Path]:
    """A folder for what is not checked yet; those that killed pulls left are removed."""
    for old in logs.glob(f"{WORKPLACE}*"):
        with contextlib.suppress(OSError), locked(old):
            shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=WORKPLACE, dir=logs) as folder, locked(Path(folder)):
        yield Path(folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, as long as the process lives at the longest.

    :raises OSError: somebody else holds it
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _fill(folder: Path, source: Source, files: dict[str, bytes], agent: Path, trust: bool) -> None:
    """Write a run folder; its run.json, without which it is none, last."""
    run = Run(folder, {"algo": source.algo, "env_id": source.game.env_id})
    model = (_trusted if trust else _checked)(run, source, files, agent)
    save_agent(model, run.final_model)
    for name, content in _kept(files).items():
        _write(folder / name, content)
    facts = _facts(run, source, files) | {"steps": model.num_timesteps}
    settings = folder / source.game.folder_name
    settings.mkdir()
    run.facts.update(facts)
    _write(settings / "config.yml", config_yml(run).encode())
    _write(settings / "args.yml", args_yml(run).encode())
    run.update(**({"trusted": True} if trust else {}))


def _checked(run: Run, source: Source, files: dict[str, bytes], agent: Path) -> BaseAlgorithm:
    """The agent, built from its recipe; nothing pickled in its file is opened."""
    try:
        recipe = recipe_of(files, source.algo, source.game, source.recipe)
    except UserError as error:
        raise UserError(f"{source.repo}: {error}; {OPT_IN}") from None
    _write(run.path / "recipe.yml", recipe)
    try:
        return safe_agent(run, agent, "cpu")
    except OSError:
        raise
    except Exception as error:  # whatever a broken archive makes SB3 and torch raise
        reason = " ".join(str(error).split())
        raise UserError(f"{source.repo}: {agent.name}: {reason}; {OPT_IN}") from None


def _trusted(run: Run, source: Source, files: dict[str, bytes], agent: Path) -> BaseAlgorithm:
    """The agent as SB3 loads it, whatever that runs."""
    try:
        model = unpickled_agent(run, agent, "cpu")
    except Exception as error:  # whatever a broken archive makes zip, pickle or torch raise
        reason = " ".join(str(error).split())
        raise UserError(f"{source.repo}: {agent.name}: cannot be loaded ({reason})") from None
    named = source.algo, source.game, source.recipe
    try:
        recipe = recipe_of(files, *named)
    except UserError as error:
        say(f"{error}: the recipe {source.algo} stands for it")
        recipe = recipe_of_agent(model, *named)
    _write(run.path / "recipe.yml", recipe)
    theirs, ours = (model.observation_space, model.action_space), spaces_of(run)
    if theirs != ours:
        raise UserError(f"{source.repo}: the agent is of {theirs}, and its recipe gives {ours}")
    return model


def _kept(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files that are copied; what is left out is told."""
    found = {name: files[name] for name in CHECKS if name in files}
    kept = {}
    try:
        found |= _metrics(files[METRICS]) if METRICS in files else {}
    except ValueError as error:
        say(f"{METRICS} is left out: {error}")
    for name, content in found.items():
        try:
            CHECKS[name](content)
            kept[name] = content
        except Exception as error:  # whatever csv, json and numpy make of bytes
            reason = "".join(c for c in " ".join(str(error).split()) if c.isprintable())
            say(f"{name} is left out: {reason}")
    return kept


def _metrics(content: bytes) -> dict[str, bytes]:
    archive = Archive(content)
    return {n: archive.read(n, MEMBERS[n]) for n in MEMBERS if n in archive.members}


def _facts(run: Run, source: Source, files: dict[str, bytes]) -> dict[str, Any]:
    """For run.json: ours, and what the repository says of the training."""
    values = run.hyperparams
    recipe = Recipe(source.recipe, source.algo, run.path / "recipe.yml", values)
    theirs: dict[str, Any] = {"seed": UNKNOWN_SEED}
    try:
        theirs["seed"] = seed_of(files.get("args.yml", b""))
        theirs |= facts_of(files["run.json"]) if "run.json" in files else {}
    except (UserError, ValueError) as error:
        say(f"what is said of the training is left out: {error}")
    return {
        "game": source.game.name,
        "recipe": source.recipe,
        "n_timesteps": recipe.n_timesteps,
        "exploration_steps": recipe.exploration_steps,
        "frame_skip": frame_skip(values),
        "state": "pulled",
        "pulled": {"repo": source.repo, "revision": source.revision},
        **theirs,
    }


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as file:
        file.write(content)
