"""Agents that were trained elsewhere, as run folders; nothing in their files is run.

The network is built here from the checked recipe, tensors are taken from the agent's file, and the
agent is saved anew, so that no pickle of others stays on the disk. Scores, film and curve are made
here, by other commands.
"""

import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from custom.env.games import frame_skip
from custom.evaluation.protocol import Protocol
from custom.recipe.games import Game, find_game
from custom.recipe.model import ALGORITHMS
from custom.recipe.recipe import Recipe
from custom.recipe.yaml_text import MAX_BYTES, read_yaml
from custom.runs.agents import safe_agent, save_agent
from custom.runs.folder import AGENTS, BEST, EVALUATIONS_FILE, Run, claim_folder, open_run
from custom.runs.metrics import evaluations
from custom.runs.zoo_files import recipe_of, write_zoo_files
from custom.system.errors import UserError, one_line

LONGEST = 24 * 3600  # seconds that an agent takes to be brought in
RECIPE_FILES = ("args.yml", "config.yml", "env_kwargs.yml", "recipe.yml")
UNKNOWN_SEED = -1


@dataclass(frozen=True)
class Foreign:
    """An agent and what is known of it.

    :param place: where it is from, for messages
    :param recipe: name of the folder of its runs
    :param agent: its file
    :param files: the recipe's files, by name
    :param evaluated: the zoo's evaluations during its training; None: none
    :param facts: for run.json
    """

    place: str
    recipe: str
    algo: str
    game: Game
    agent: Path
    files: dict[str, Path]
    evaluated: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def workplace(logs: Path) -> Iterator[Path]:
    """A hidden folder in LOGS, removed at the end."""
    logs.mkdir(parents=True, exist_ok=True)
    for left in logs.glob(".pull-*"):  # by a process that was killed
        with suppress(FileNotFoundError):  # another process was faster
            if time.time() - left.stat().st_mtime > LONGEST:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=logs) as folder:
        yield Path(folder)


def bring_in(foreign: Foreign, logs: Path) -> Run:
    """Make a run folder of an agent, or leave nothing behind.

    :raises UserError: the agent is refused
    """
    with workplace(logs) as folder:
        partial = folder / "run"
        partial.mkdir()
        _fill(partial, foreign)
        claimed = claim_folder(logs / foreign.recipe / foreign.algo, foreign.game.folder_name)
        partial.rename(claimed)  # which is empty
    return open_run(claimed)


def of_folder(folder: Path) -> Foreign:
    """The agent in a folder: of a run of the zoo, or as `make push` and the zoo lay it out.

    :raises UserError: there is none that can be played here
    """
    place, folder = f"REPO {folder}", folder.resolve()
    if (folder / "run.json").is_file():
        raise UserError(f"{place}: is a run folder; give it as RUN")
    zoo = re.fullmatch(r"(.+)_\d+", folder.name)
    if zoo and (folder / zoo[1]).is_dir():
        environment, algo, of_recipe = zoo[1], folder.parent.name, folder / zoo[1]
        agent = folder / f"{environment}.zip"
        if algo not in ALGORITHMS or not agent.is_file():
            said = f"needs {algo}/{folder.name}/{agent.name} of {' or '.join(ALGORITHMS)}"
            raise UserError(f"{place}: {said}, which the zoo writes at a training's end")
        recipe, game, evaluated = f"{algo}-zoo", _game(place, environment), folder
    else:
        name, algo, game = agent_among(place, [path.name for path in folder.iterdir()])
        agent, of_recipe, recipe = folder / name, folder, f"{folder.parent.name}--{folder.name}"
        evaluated = None
    paths = {name: of_recipe / name for name in RECIPE_FILES}
    files = {name: path for name, path in paths.items() if path.is_file()}
    for path in (agent, *files.values()):
        if path.is_symlink() or not path.is_file():
            raise UserError(f"{place}: {path.name} is not a plain file")
    facts: dict[str, Any] = {"state": "finished", "brought_from": str(folder)}
    if not evaluated:
        named = f"{folder.parent.name}/{folder.name}"
        facts = {"state": "pulled", "pulled": {"repo": named, "revision": "a folder"}}
    return Foreign(place, recipe, algo, game, agent, files, evaluated, facts)


def agent_among(place: str, names: Iterable[str]) -> tuple[str, str, Game]:
    """File, algorithm and game of the one agent among some files.

    :raises UserError: there is none, or there are several
    """
    zips = [match for name in names if (match := re.fullmatch(r"([a-z0-9_]+)-(.+)\.zip", name))]
    agents = [match for match in zips if match[1] in ALGORITHMS]
    if len(agents) != 1:
        shown = ", ".join(match[0] for match in zips) or "none"
        expected = " or ".join(f"{algo}-ENVIRONMENT.zip" for algo in ALGORITHMS)
        raise UserError(f"{place}: needs one agent, {expected}; it has: {shown}")
    name, algo, environment = agents[0].group(0, 1, 2)
    return name, algo, _game(f"{place}: {name}", environment)


def agent_of_the_checkout(game: Game) -> Foreign | None:
    """The agent in the game's folder in agents/; None: it is of another version of the game."""
    foreign = of_folder(AGENTS / game.name)
    return foreign if foreign.game == game else None


def _game(place: str, environment: str) -> Game:
    try:
        game = find_game(environment)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    if game.folder_name != environment:
        raise UserError(f"{place}: must be named after its environment: {game.folder_name}")
    return game


def _fill(folder: Path, foreign: Foreign) -> None:
    """Write a run folder; ``run.json`` comes last, without it it is none."""
    game, algo = foreign.game, foreign.algo
    run = Run(folder, {"game": game.name, "env_id": game.env_id, "algo": algo})
    try:
        for name, path in foreign.files.items():
            if path.stat().st_size > MAX_BYTES:
                raise UserError(f"{name} has more than {MAX_BYTES:,} bytes")
        files = {name: path.read_bytes() for name, path in foreign.files.items()}
        (folder / "recipe.yml").write_bytes(recipe_of(files, algo, game, foreign.recipe))
        model = safe_agent(run, foreign.agent, "cpu")
        if foreign.evaluated:
            run.facts.update(_of_the_zoo(run, foreign.evaluated, files))
    except OSError:
        raise
    except UserError as error:
        raise UserError(f"{foreign.place}: {error}") from None
    except Exception as error:  # whatever a damaged archive makes SB3 and torch raise
        raise UserError(f"{foreign.place}: {foreign.agent.name}: {one_line(error)}") from None
    save_agent(model, run.final_model)
    recipe = Recipe(foreign.recipe, algo, folder / "recipe.yml", run.hyperparams)
    facts = {
        "recipe": foreign.recipe,
        "seed": UNKNOWN_SEED,
        "steps": model.num_timesteps,
        "n_timesteps": recipe.n_timesteps,
        "exploration_steps": recipe.exploration_steps,
        "frame_skip": frame_skip(run.hyperparams),
    }
    run.facts.update({**facts, **run.facts, **foreign.facts})
    write_zoo_files(run, folder / game.folder_name)
    run.update()


def _of_the_zoo(run: Run, folder: Path, files: dict[str, bytes]) -> dict[str, Any]:
    """Bring in best agent and evaluations of a run of the zoo; its seed, budget, their protocol.

    The zoo evaluates at the training's epsilon of the moment; it is given as the final one.
    """
    arguments = read_yaml(files.get("args.yml", b"{}"), "args.yml") or {}
    facts: dict[str, Any] = {
        key: value
        for key in ("seed", "n_timesteps")
        if type(value := dict(arguments).get(key)) is int and value > 0
    }
    if (folder / BEST).is_file() and not (folder / BEST).is_symlink():
        save_agent(safe_agent(run, folder / BEST, "cpu"), run.path / BEST)
    there = Run(folder, run.facts)
    if (evaluated := evaluations(there)) is not None:
        np.savez(run.path / EVALUATIONS_FILE, **evaluated)  # and nothing else that is in the file
        epsilon = run.hyperparams.exploration_final_eps
        protocol = Protocol(evaluated["results"].shape[1], epsilon)
        facts["eval_protocol"] = protocol.describe(run.game, run.hyperparams)
    return facts
