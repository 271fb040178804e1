"""Run folders, the only thing that passes between commands; docs/run_folder.md lists the files.

Their layout is the zoo's, ``LOGS/<recipe>/<algo>/<env>_<n>/``.
"""

import json
import math
import shlex
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from custom.recipe.check import check
from custom.recipe.games import Game, find_game
from custom.recipe.model import Hyperparams
from custom.recipe.recipe import Recipe
from custom.recipe.yaml_text import read_yaml
from custom.system.errors import UserError
from custom.system.files import lock, try_lock, write_json

LOCK, STATE, BEST = "run.lock", "state", "best_model.zip"
AGENTS = Path(__file__).resolve().parents[2] / "agents"  # of the checkout; a wheel has none
GAMES_FILE, EVALUATIONS_FILE = "training_games.csv", "evaluations.npz"

# What commands read from run.json; a run may be without the last ones.
FACTS = {"algo": str, "env_id": str, "frame_skip": int, "recipe": str, "seed": int}
OPTIONAL = {"n_timesteps": int, "steps": int, "parent": dict}


@dataclass(frozen=True)
class Run:
    """A run folder that exists."""

    path: Path
    facts: dict[str, Any]

    @cached_property
    def game(self) -> Game:
        """The game that was trained."""
        return find_game(self.facts["env_id"])

    @cached_property
    def hyperparams(self) -> Hyperparams:
        """The resolved recipe's values for the game, checked as those of any recipe."""
        entries = read_yaml((self.path / "recipe.yml").read_bytes(), "recipe.yml")
        entry = entries[self.facts["env_id"]]
        values = {key: value for key, value in entry.items() if key != "algo"}
        return check(values, self.facts["algo"])

    @property
    def recipe(self) -> Recipe:
        """The recipe as it ran."""
        name, algo, digest = (
            str(self.facts.get(key, "")) for key in ("recipe", "algo", "recipe_digest")
        )
        return Recipe(name, algo, self.path / "recipe.yml", self.hyperparams, digest=digest)

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the game's constructor: the game's own and the recipe's."""
        return self.game.env_kwargs | self.hyperparams.env_kwargs.given

    @property
    def final_model(self) -> Path:
        """Where the agent at the end of the run is."""
        return self.path / f"{self.game.folder_name}.zip"

    def checkpoints(self) -> list[Path]:
        """Checkpoints, the latest last."""
        paths = self.path.glob("rl_model_*_steps.zip")
        return sorted(paths, key=lambda path: int(path.name.split("_")[2]))

    def model(self, which: str) -> Path:
        """The file of an agent.

        :param which: ``final`` (of an interrupted run the last checkpoint), ``best``, or the name
            of a checkpoint's file
        :raises UserError: there is none
        """
        saved = self.checkpoints()
        named = {path.name: [path] for path in saved} | {"best": [self.path / BEST]}
        named["final"] = [self.final_model, *reversed(saved)]
        for path in named.get(which, ()):
            if path.is_file():
                return path
        there = [name for name, paths in named.items() if any(path.is_file() for path in paths)]
        reason = f"has no {which} model; it has: {', '.join(there) or 'none'}"
        raise UserError(f"RUN {self.path}: {reason}")

    def lock(self, seconds: float = math.inf) -> IO[str]:
        """Lock the run until the returned file is closed or the process ends.

        :param seconds: how long to wait for another process
        :raises UserError: it is still in use
        """
        file = lock(self.path / LOCK, seconds)
        if file is None:
            reason = "in use by another process; wait until it finishes"
            raise UserError(f"RUN {self.path}: {reason}")
        return file

    def is_locked(self) -> bool:
        """Whether a process is training it."""
        try:
            with (self.path / LOCK).open("r+") as file:
                return not try_lock(file, shared=True)
        except OSError:  # no process of this machine trained it
            return False

    @property
    def saved_state(self) -> Path:
        """Folder of the state from which an interrupted training resumes."""
        return self.path / STATE

    def update(self, **facts: Any) -> None:
        """Change facts in run.json."""
        self.facts.update(facts)
        write_json(self.path / "run.json", self.facts)


def open_run(path: Path, what: str = "RUN") -> Run:
    """A run folder by its path.

    :param what: the variable that names it
    :raises UserError: not a run folder
    """
    if not path.is_dir():
        raise UserError(f"{what} {path}: there is no such folder; make runs lists them")
    try:
        facts = json.loads((path / "run.json").read_text())
        for key, kind in (FACTS | OPTIONAL).items():
            if (key in FACTS or key in facts) and not isinstance(facts[key], kind):
                raise ValueError(f"run.json: {key} is {facts[key]!r}")
        run = Run(path.absolute(), facts)
        _ = run.hyperparams, run.game
    except Exception as error:  # files that others wrote can hold anything
        said = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        if not (path / "run.json").exists():
            said = f"no run.json; of the zoo? make pull REPO={shlex.quote(str(path))}"
        raise UserError(f"{what} {path}: is not a run folder of this project ({said})") from None
    return run


def open_runs(logs: Path, game: str = "", recipe: str = "") -> tuple[list[Run], dict[Path, str]]:
    """Every run below a folder, by path; and what is wrong with folders that are none.

    :param game: environment id; empty: any
    :param recipe: name; empty: any
    """
    runs, damaged = [], {}
    for file in sorted(logs.glob("*/*/*/run.json")):
        with suppress(Exception):  # what is damaged is told below; others are not looked at further
            facts = json.loads(file.read_text())
            if game not in ("", facts["env_id"]) or recipe not in ("", facts["recipe"]):
                continue
        try:
            run = open_run(file.parent)
        except UserError as error:
            damaged[file.parent] = str(error)
        else:
            runs.append(run)
    return runs, damaged


def latest_run(logs: Path, game: Game, recipe: str = "", digest: str = "") -> Run:
    """The run of a game that began last.

    :param recipe: name; empty: any
    :param digest: of the recipe's values; runs with it come first
    :raises UserError: there is none
    """
    runs, _ = open_runs(logs, game.env_id, recipe)
    runs = [run for run in runs if digest and run.facts.get("recipe_digest") == digest] or runs
    if not runs:
        others = sorted({run.facts["recipe"] for run in open_runs(logs, game.env_id)[0]})
        has = f"there are runs of {', '.join(others)}" if others else "train one with make train"
        which = f"{game.env_id} with {recipe}" if recipe else game.env_id
        raise UserError(f"no run of {which} in {logs}; {has}")
    return max(runs, key=lambda run: (str(run.facts.get("started", "")), *_natural(run.path)))


def _natural(path: Path) -> tuple[int, str]:
    """A key that sorts ``x_9`` before ``x_10``."""
    return len(path.name), path.name


def claim_folder(parent: Path, name: str) -> Path:
    """Create ``<name>_<n>`` with the next free number; two processes never get the same.

    :raises UserError: it cannot be written
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        ends = [path.name.removeprefix(f"{name}_") for path in parent.glob(f"{name}_*")]
        number = max((int(end) for end in ends if end.isdecimal()), default=0)
        while True:
            number += 1
            folder = parent / f"{name}_{number}"
            with suppress(FileExistsError):  # another process was faster
                folder.mkdir()
                return folder
    except OSError as error:
        raise UserError(f"LOGS {parent}: cannot be written ({error.strerror})") from None
