"""Run folders, the only thing that passes between commands.

Their layout is the zoo's, ``LOGS/<recipe>/<algo>/<env>_<n>/``::

    <env>.zip             the agent at the end of the run
    best_model.zip        the agent of the best evaluation
    rl_model_<n>_steps.zip  the last checkpoints
    <env>/                config.yml, args.yml and command.txt, as the zoo writes them
    recipe.yml            the resolved recipe, usable as RECIPE
    run.json              game, seed, command, versions, state
    training_games.csv    every finished game of the training
    evaluations.npz       the evaluations during training
    run.lock              empty; locked while a process trains the run
    state/                where a training that was broken off goes on, with --save-state
    videos/ and wandb/    films and files of Weights & Biases, where TRACK asked for them
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from custom.atomic import write_json
from custom.errors import UserError
from custom.recipe.games import Game, find_game
from custom.recipe.model import Hyperparams, check
from custom.recipe.yaml_text import read_yaml


def try_lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file, if nobody has it; the lock ends when it is closed, and with the process.

    :param kind: ``LOCK_SH`` for one that several may have
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


LOCK, STATE, BEST = "run.lock", "state", "best_model.zip"  # in a run folder
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # a file system that knows none

# What commands read from run.json.
FACTS = {"algo": str, "env_id": str, "frame_skip": int, "recipe": str, "seed": int}


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
    def final_model(self) -> Path:
        """Where the agent at the end of the run is."""
        return self.path / f"{self.game.folder_name}.zip"

    def checkpoints(self) -> list[Path]:
        """Checkpoints, the latest last."""
        pattern = re.compile(r"rl_model_(\d+)_steps\.zip")
        found = [path for path in self.path.iterdir() if pattern.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.name.split("_")[2]))

    def model(self, which: str) -> Path:
        """The file of an agent.

        :param which: ``final`` (or, where a run was broken off, the last checkpoint), ``best``
        :raises UserError: there is none
        """
        candidates = {
            "final": [self.final_model, *reversed(self.checkpoints())],
            "best": [self.path / BEST],
        }[which]
        for path in candidates:
            if path.is_file():
                return path
        raise UserError(f"RUN {self.path}: holds no {which} model; name another run with RUN=")

    def lock(self, seconds: float = math.inf) -> IO[str]:
        """Hold the run as long as what is returned is open; it ends with the process, too.

        :param seconds: to wait for another that has it
        :raises UserError: it has it still
        """
        file = (self.path / LOCK).open("a+")  # not to be written, but NFS asks for that
        end = time.monotonic() + seconds
        while not try_lock(file):
            if time.monotonic() > end:
                file.close()
                raise UserError(f"RUN {self.path}: another process is at it; wait for its end")
            time.sleep(0.1)
        return file

    def is_locked(self) -> bool:
        """Whether a process is training it."""
        try:
            with (self.path / LOCK).open("r+") as file:
                return not try_lock(file, fcntl.LOCK_SH)
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            return False  # nobody ever trained it here

    @property
    def saved_state(self) -> Path:
        """Folder of the state that a training that is broken off goes on from."""
        return self.path / STATE

    def update(self, **facts: Any) -> None:
        """Change facts in run.json."""
        self.facts.update(facts)
        write_json(self.path / "run.json", self.facts)


def open_run(path: Path) -> Run:
    """A run folder by its path.

    :raises UserError: not a run folder
    """
    file = path / "run.json"
    if not path.is_dir():
        raise UserError(f"RUN {path}: there is no such folder; make train prints its own")
    try:
        facts = json.loads(file.read_text())
        for key, kind in FACTS.items():
            if not isinstance(facts[key], kind):
                raise ValueError(f"run.json: {key} is {facts[key]!r}")
        run = Run(path.resolve(), facts)
        _ = run.hyperparams, run.game
    except KeyError as error:
        raise UserError(f"RUN {path}: is not a run folder of this project (no {error})") from None
    except Exception as error:  # whatever else files that others wrote can hold
        reason = " ".join(str(error).split())
        raise UserError(f"RUN {path}: is not a run folder of this project ({reason})") from None
    return run


def open_runs(logs: Path, game: str = "", recipe: str = "") -> tuple[list[Run], dict[Path, str]]:
    """Every run below a folder, by path; and what is wrong with folders that are none.

    :param game: environment id; empty: any
    :param recipe: name; empty: any
    """
    runs, damaged = [], {}
    for file in sorted(logs.glob("*/*/*/run.json")):
        try:
            run = open_run(file.parent)
            if game in ("", run.facts["env_id"]) and recipe in ("", run.facts["recipe"]):
                runs.append(run)
        except UserError as error:
            damaged[file.parent] = str(error)
    return runs, damaged


def latest_run(logs: Path, recipe: str, game: Game, digest: str = "") -> Run:
    """The run of a game and recipe with the highest number.

    :param digest: of the recipe's values; runs of others come second
    :raises UserError: there is none
    """
    found = [
        (number, path)
        for algo in sorted((logs / recipe).glob("*"))
        for number, path in _numbered(algo, game.folder_name)
        if (path / "run.json").is_file()
    ]
    for _, path in sorted(found, reverse=True):
        if digest and (run := open_run(path)).facts.get("recipe_digest") == digest:
            return run
    if not found:
        raise UserError(
            f"no run of {game.env_id} with {recipe} in {logs}; train one with"
            f" make train, or name one with RUN"
        )
    return open_run(max(found)[1])


def claim_folder(parent: Path, name: str) -> Path:
    """Create ``<name>_<n>`` with the next free number; two processes never get the same.

    :raises UserError: it cannot be written
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = max((n for n, _ in _numbered(parent, name)), default=0)
        while True:
            number += 1
            try:
                (parent / f"{name}_{number}").mkdir()
            except FileExistsError:
                continue
            return parent / f"{name}_{number}"
    except OSError as error:
        raise UserError(f"LOGS {parent}: cannot be written ({error.strerror})") from None


def _numbered(parent: Path, name: str) -> list[tuple[int, Path]]:
    """(n, path) of the folders ``<name>_<n>``."""
    pattern = re.compile(re.escape(name) + r"_(\d+)")
    paths = parent.iterdir() if parent.is_dir() else []
    matches = ((pattern.fullmatch(path.name), path) for path in paths)
    return [(int(match[1]), path) for match, path in matches if match]
