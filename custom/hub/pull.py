"""`make pull`: an agent of the Hub as a run folder; nothing in its files is run.

The agent and its recipe are fetched, each within a limit. The network is built here from the
checked recipe, tensors are taken from the agent's file, and the agent is saved anew, so that no
pickle of others stays on the disk. Scores, film and curve are made here, by other commands.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi

from custom.env.games import frame_skip
from custom.hub.client import hub_errors
from custom.recipe.games import Game, find_game
from custom.recipe.model import ALGORITHMS
from custom.recipe.recipe import Recipe
from custom.recipe.yaml_text import MAX_BYTES
from custom.runs.agents import MOST_BYTES, safe_agent, save_agent
from custom.runs.folder import Run, claim_folder, open_run
from custom.runs.zoo_files import recipe_of, write_zoo_files
from custom.system.errors import UserError, one_line

LONGEST_PULL = 24 * 3600  # seconds
RECIPE_FILES = ("args.yml", "config.yml", "env_kwargs.yml", "recipe.yml")
UNKNOWN_SEED = -1


@dataclass(frozen=True)
class Source:
    """An agent in a repository, at one commit.

    :param agent: name of its file
    :param files: what is fetched, the agent among it
    """

    repo: str
    revision: str
    agent: str
    algo: str
    game: Game
    files: tuple[str, ...]

    @property
    def recipe(self) -> str:
        """Name of the folder of its runs."""
        return self.repo.replace("/", "--")


def pull(api: HfApi, repo: str, revision: str, logs: Path) -> Run:
    """Fetch an agent and make a run folder of it, or leave nothing behind.

    :param repo: ``user/name``
    :param revision: branch, tag or commit; empty: main
    :raises UserError: it cannot be fetched, or is refused
    """
    source = find_source(api, repo, revision)
    try:
        logs.mkdir(parents=True, exist_ok=True)
        for left in logs.glob(".pull-*"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > LONGEST_PULL:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=logs) as workplace:
            folder = Path(workplace)
            for name in source.files:
                with hub_errors(f"{name} of {repo}"):
                    api.hf_hub_download(repo, name, revision=source.revision, local_dir=folder)
            partial = folder / "run"
            partial.mkdir()
            _fill(partial, source, folder)
            claimed = claim_folder(logs / source.recipe / source.algo, source.game.folder_name)
            partial.rename(claimed)  # which is empty
        return open_run(claimed)
    except OSError as error:
        raise UserError(f"LOGS {logs}: cannot be written ({error.strerror or error})") from None


def find_source(api: HfApi, repo: str, revision: str) -> Source:
    """The one agent of a repository that this project can play.

    :param repo: ``user/name``
    :param revision: branch, tag or commit; empty: main
    :raises UserError: the repository cannot be read, or holds no such agent, or several
    """
    if repo.count("/") != 1:
        raise UserError(f"REPO is {repo!r}; write REPO=user/name")
    with hub_errors(f"{repo}, revision {revision}" if revision else repo):
        info = api.model_info(repo, revision=revision or None, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    agent, algo, game = _agent(repo, list(sizes))
    limits = {agent: MOST_BYTES, **dict.fromkeys(RECIPE_FILES, MAX_BYTES)}
    files = tuple(sorted(limits.keys() & sizes.keys()))
    for name in files:
        size = sizes[name]
        if size is None or size > limits[name]:
            raise UserError(f"{repo}: {name} is of {size} bytes; allowed: {limits[name]}")
    return Source(repo, str(info.sha), agent, algo, game, files)


def _agent(repo: str, names: list[str]) -> tuple[str, str, Game]:
    """File, algorithm and game of the agent among some files."""
    zips = [match for name in names if (match := re.fullmatch(r"([a-z0-9_]+)-(.+)\.zip", name))]
    agents = [match for match in zips if match[1] in ALGORITHMS]
    if len(agents) != 1:
        shown = ", ".join(match[0] for match in zips) or "none"
        expected = " or ".join(f"{algo}-ENVIRONMENT.zip" for algo in ALGORITHMS)
        raise UserError(f"{repo}: needs one agent, {expected}; it has: {shown}")
    name, algo, environment = agents[0].group(0, 1, 2)
    try:
        game = find_game(environment)
    except UserError as error:
        raise UserError(f"{repo}: {name}: {error}") from None
    if game.folder_name != environment:
        raise UserError(f"{repo}: {name} is not named after an environment, as {game.folder_name}")
    return name, algo, game


def _fill(folder: Path, source: Source, fetched: Path) -> None:
    """Write a run folder from what was fetched; ``run.json`` comes last, without it it is none."""
    game, algo = source.game, source.algo
    run = Run(folder, {"game": game.name, "env_id": game.env_id, "algo": algo})
    files = {n: (fetched / n).read_bytes() for n in source.files if n != source.agent}
    try:
        (folder / "recipe.yml").write_bytes(recipe_of(files, algo, game, source.recipe))
        model = safe_agent(run, fetched / source.agent, "cpu")
    except OSError:
        raise
    except UserError as error:
        raise UserError(f"{source.repo}: {error}") from None
    except Exception as error:  # whatever a damaged archive makes SB3 and torch raise
        raise UserError(f"{source.repo}: {source.agent}: {one_line(error)}") from None
    save_agent(model, run.final_model)
    recipe = Recipe(source.recipe, algo, folder / "recipe.yml", run.hyperparams)
    run.facts.update(
        recipe=source.recipe,
        seed=UNKNOWN_SEED,
        steps=model.num_timesteps,
        n_timesteps=recipe.n_timesteps,
        exploration_steps=recipe.exploration_steps,
        frame_skip=frame_skip(run.hyperparams),
        state="pulled",
        pulled={"repo": source.repo, "revision": source.revision},
    )
    write_zoo_files(run, folder / game.folder_name)
    run.update()
