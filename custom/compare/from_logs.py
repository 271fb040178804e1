"""Runs to compare, from the folders of this machine."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from custom.baselines import baselines_of
from custom.compare.measured import Measured, measured
from custom.curves import evaluations
from custom.errors import UserError
from custom.overview import state_of
from custom.recipe.games import Game
from custom.recipe.recipe import FOLDER, recipe_name
from custom.runs import open_run

Found = TypeVar("Found")
NONE = np.empty(0)


def from_logs(
    logs: Path, games: list[Game], recipes: list[str]
) -> tuple[list[Measured], list[str]]:
    """The runs of games and recipes below a folder.

    :return: runs, those of a recipe `in_order`; and why others are left out, a line each
    :raises UserError: a recipe that is unknown, or has no run that can be compared
    """

    def find(name: str) -> list[Path]:
        if not (logs / name).is_dir() and not (FOLDER / f"{name}.yml").is_file():
            raise UserError(f"RECIPES: {name!r} is neither in hyperparams/ nor in {logs}")
        return _folders(logs / name, games)

    return gather(games, recipes, str(logs), find, _read)


def gather(
    games: list[Game],
    recipes: list[str],
    place: str,
    find: Callable[[str], Iterable[Found]],
    read: Callable[[Found], Measured],
) -> tuple[list[Measured], list[str]]:
    """The runs of games and recipes, wherever they are.

    :param place: where that is, in words
    :param find: where runs of a recipe may be
    :param read: reads one of these, or raises a `UserError`
    :return: runs, those of a recipe `in_order`; and why others are left out, a line each
    :raises UserError: a recipe has no run that can be compared
    """
    runs: list[Measured] = []
    left_out: list[str] = []
    for name in dict.fromkeys(map(named, recipes)):
        own: list[Measured] = []
        reasons: list[str] = []
        for found in find(name):
            try:
                own.append(read(found))
            except UserError as error:
                reasons.append(str(error))
        if not own:
            raise UserError(nothing(name, games, place, reasons))
        runs += in_order(own, games)
        left_out += [*reasons, *missing(name, games, own)]
    return runs, left_out


def named(recipe: str) -> str:
    """The name of a recipe that may be given as a file.

    :raises UserError: there is no such file
    """
    if recipe.endswith((".yml", ".yaml")) and not Path(recipe).is_file():
        raise UserError(f"RECIPES {recipe!r}: there is no such file")
    return recipe_name(recipe)


def in_order(runs: list[Measured], games: list[Game]) -> list[Measured]:
    """Runs of one recipe: game by game, in the order in which they were started."""
    return sorted(runs, key=lambda run: (games.index(run.game), run.started))


def nothing(recipe: str, games: list[Game], place: str, left_out: list[str]) -> str:
    """That a recipe has no run to compare, and why."""
    named = ", ".join(game.env_id for game in games)
    if not left_out:
        return f"no run of {named} with {recipe} in {place}; train one with make train"
    return f"no run of {named} with {recipe} can be compared: {'; '.join(left_out)}"


def missing(recipe: str, games: list[Game], runs: list[Measured]) -> list[str]:
    """A line for each game of which a recipe has no run, though others have."""
    have = {run.game.env_id for run in runs}
    return [f"{game.env_id}, {recipe}: no run" for game in games if game.env_id not in have]


def _folders(parent: Path, games: list[Game]) -> list[Path]:
    """Run folders of a recipe, game by game in the order of their numbers."""
    folders: list[tuple[int, int, Path]] = []
    for place, game in enumerate(games):
        for path in parent.glob(f"*/{glob.escape(game.folder_name)}_*"):
            number = path.name.rpartition("_")[2]
            if number.isdecimal() and (path / "run.json").is_file():
                folders.append((place, int(number), path))
    return [path for _, _, path in sorted(folders)]


def _read(folder: Path) -> Measured:
    run = open_run(folder)
    found = evaluations(run) or {"timesteps": NONE, "results": NONE}
    video = run.path / "replay.mp4"
    return measured(
        str(folder),
        {**run.facts, "state": state_of(run)},
        run.hyperparams.given,
        found["timesteps"],
        found["results"],
        video=video if video.is_file() else None,
        baselines=baselines_of(run),
    )
