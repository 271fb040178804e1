"""Runs to compare, from the run folders of this machine."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from custom.compare.measured import Measured, measured
from custom.evaluation.baselines import baselines_of
from custom.recipe.games import Game
from custom.recipe.recipe import recipe_name
from custom.runs.folder import open_run
from custom.runs.listing import state_of
from custom.runs.metrics import evaluations
from custom.system.errors import UserError

Runs = tuple[list[Measured], list[str]]


def from_logs(logs: Path, games: list[Game], recipes: list[str]) -> Runs:
    """The runs of games and recipes below a folder; see `gather`."""

    def readers(recipe: str) -> Iterator[Callable[[], Measured]]:
        for game in games:
            pattern = f"*/{glob.escape(game.folder_name)}_[0-9]*/run.json"
            for file in sorted((logs / recipe).glob(pattern)):
                yield partial(_read, file.parent)

    return gather(games, recipes, str(logs), readers)


def gather(
    games: list[Game],
    recipes: list[str],
    place: str,
    readers: Callable[[str], Iterable[Callable[[], Measured]]],
) -> Runs:
    """The runs of games and recipes, from a folder or from W&B.

    :param place: its name, for messages
    :param readers: for a recipe, one function for each run, which reads it or raises `UserError`
    :return: runs: recipe by recipe, game by game, by the time of their start; and one line for each
        run that is left out
    :raises UserError: a recipe has no run that can be compared
    """
    runs: list[Measured] = []
    left_out: list[str] = []
    for recipe in dict.fromkeys(map(_name, recipes)):
        of_recipe: list[Measured] = []
        reasons: list[str] = []
        for read in readers(recipe):
            try:
                of_recipe.append(read())
            except UserError as error:
                reasons.append(str(error))
        if not of_recipe:
            raise UserError(_nothing(recipe, games, place, reasons))
        runs += sorted(of_recipe, key=lambda run: (games.index(run.game), run.started))
        played = [run.game for run in of_recipe]
        reasons += [f"{game.env_id}, {recipe}: no run" for game in games if game not in played]
        left_out += reasons
    return runs, left_out


def _name(recipe: str) -> str:
    """The name of a recipe that may be given as a file."""
    if recipe.endswith((".yml", ".yaml")) and not Path(recipe).is_file():
        raise UserError(f"RECIPES {recipe!r}: there is no such file")
    return recipe_name(recipe)


def _nothing(recipe: str, games: list[Game], place: str, reasons: list[str]) -> str:
    env_ids = ", ".join(game.env_id for game in games)
    if not reasons:
        return f"no run of {env_ids} with {recipe} in {place}; train one with make train"
    return f"no run of {env_ids} with {recipe} can be compared: {'; '.join(reasons)}"


def _read(folder: Path) -> Measured:
    run = open_run(folder)
    evaluated = evaluations(run) or {"timesteps": np.empty(0), "results": np.empty(0)}
    video = run.path / "replay.mp4"
    return measured(
        str(folder),
        {**run.facts, "state": state_of(run)},
        run.hyperparams,
        evaluated["timesteps"],
        evaluated["results"],
        video=video if video.is_file() else None,
        baselines=baselines_of(run),
    )
