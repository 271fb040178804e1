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
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from custom.errors import UserError
from custom.games import Game, find_game


@contextmanager
def atomic_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file that is there whole or not at all: temporary file, fsync, rename."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp's own would hide the file from everyone else
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with atomic_file(path, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


@dataclass(frozen=True)
class Run:
    """A run folder that exists."""

    path: Path
    facts: dict[str, Any]

    @property
    def game(self) -> Game:
        """The game that was trained."""
        return find_game(self.facts["env_id"])

    @property
    def hyperparams(self) -> dict[str, Any]:
        """The resolved recipe's values for the game."""
        entries = yaml.safe_load((self.path / "recipe.yml").read_text())
        values: dict[str, Any] = entries[self.facts["env_id"]]
        return values

    @property
    def final_model(self) -> Path:
        """Where the agent at the end of the run is."""
        return self.path / f"{self.game.folder_name}.zip"

    def checkpoints(self) -> list[Path]:
        """Checkpoints, the latest last."""
        found = self.path.glob("rl_model_*_steps.zip")
        return sorted(found, key=lambda path: int(path.name.split("_")[-2]))

    def model(self, which: str) -> Path:
        """The file of an agent.

        :param which: ``final`` (or, where a run was broken off, the last checkpoint), ``best``
        :raises UserError: there is none
        """
        candidates = {
            "final": [self.final_model, *reversed(self.checkpoints())],
            "best": [self.path / "best_model.zip"],
        }[which]
        for path in candidates:
            if path.is_file():
                return path
        raise UserError(f"RUN {self.path}: holds no {which} model; train one with make train")

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
        run = Run(path, facts)
        _ = run.hyperparams, run.game
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"RUN {path}: is not a run folder of this project ({reason})") from None
    return run


def latest_run(logs: Path, recipe: str, game: Game) -> Run:
    """The run of a game and recipe with the highest number.

    :raises UserError: there is none
    """
    found = [
        (number, path)
        for algo in sorted((logs / recipe).glob("*"))
        for number, path in _numbered(algo, game.folder_name)
    ]
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
