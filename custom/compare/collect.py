"""What is compared: the evaluations of every run of some games and recipes, from run folders."""

from __future__ import annotations

import glob
import math
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom.baselines import baselines_of
from custom.curves import evaluations
from custom.errors import UserError
from custom.evaluation import EPSILON, Protocol
from custom.games import Game
from custom.overview import state_of
from custom.recipes import FOLDER, recipe_name
from custom.runs import Run, open_run

FloatArray = npt.NDArray[np.float64]
PROTOCOL = ("epsilon", "episodes", "noop_max", "repeat_action_probability", "max_frames")


@dataclass(frozen=True, eq=False)
class Measured:
    """A run that was trained to its end, wherever it was read.

    :param name: what it is called in tables, its folder for one
    :param budget: of the training, in frames
    :param protocol: of its evaluations, the values that `PROTOCOL` names
    :param steps: (N,), of its evaluations
    :param scores: (N, games), raw points
    :param seconds: the training took, None where nobody knows
    :param video: of the agent at the end
    :param baselines: what `make baselines` measured for the game and recipe
    """

    name: str
    game: Game
    recipe: str
    algo: str
    seed: int
    budget: int
    frame_skip: int
    protocol: dict[str, float]
    hyperparams: dict[str, Any]
    steps: FloatArray
    scores: FloatArray
    seconds: float | None = None
    hardware: str = "unknown"
    video: Path | None = None
    baselines: dict[str, Any] | None = None

    @property
    def frames(self) -> FloatArray:
        """(N,), of its evaluations."""
        return self.steps * self.frame_skip

    @property
    def means(self) -> FloatArray:
        """(N,), mean raw score of each evaluation."""
        means: FloatArray = self.scores.mean(axis=1)
        return means


def from_logs(
    logs: Path, games: list[Game], recipes: list[str]
) -> tuple[list[Measured], list[str]]:
    """The runs of games and recipes below a folder.

    :return: runs, those of a recipe by their number; and why others are left out, a line each
    :raises UserError: a recipe that is unknown, or has no run that can be compared
    """
    found: list[Measured] = []
    left_out: list[str] = []
    for name in dict.fromkeys(map(recipe_name, recipes)):
        usable, reasons = len(found), len(left_out)
        if not (logs / name).is_dir() and not (FOLDER / f"{name}.yml").is_file():
            raise UserError(f"RECIPES: {name!r} is neither in hyperparams/ nor in {logs}")
        for folder in _folders(logs / name, games):
            try:
                found.append(_measured(folder))
            except UserError as error:
                left_out.append(str(error))
        if len(found) == usable:
            raise UserError(_nothing(name, games, logs, left_out[reasons:]))
    return found, left_out


def _nothing(recipe: str, games: list[Game], logs: Path, left_out: list[str]) -> str:
    named = ", ".join(game.env_id for game in games)
    if not left_out:
        return f"no run of {named} with {recipe} in {logs}; train one with make train"
    return f"no run of {named} with {recipe} can be compared: {'; '.join(left_out)}"


def _folders(parent: Path, games: list[Game]) -> list[Path]:
    """Run folders of a recipe, game by game in the order of their numbers."""
    folders: list[tuple[int, int, Path]] = []
    for place, game in enumerate(games):
        for path in parent.glob(f"*/{glob.escape(game.folder_name)}_*"):
            number = path.name.rpartition("_")[2]
            if number.isdecimal() and (path / "run.json").is_file():
                folders.append((place, int(number), path))
    return [path for _, _, path in sorted(folders)]


def _measured(folder: Path) -> Measured:
    """A run by its folder.

    :raises UserError: it is not finished, was not evaluated, or is damaged
    """
    run = open_run(folder)
    state = state_of(run)
    if state != "finished":
        raise UserError(f"{folder}: {state}, not finished")
    found = evaluations(run)
    if found is None or not found["results"].size:
        raise UserError(f"{folder}: has no evaluation during its training")
    steps, scores = found["timesteps"], found["results"]
    if not (np.isfinite([*steps, *scores.flat]).all() and (np.diff(steps, prepend=0) > 0).all()):
        raise UserError(f"{folder}: evaluations.npz has numbers that are not finite, or no order")
    try:
        return _of_run(str(folder), run, steps, scores)
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{folder}: run.json is damaged ({error!r})") from None


def _of_run(name: str, run: Run, steps: FloatArray, scores: FloatArray) -> Measured:
    """What is compared of a run."""
    facts, video = run.facts, run.path / "replay.mp4"
    seconds, budget = facts.get("wall_clock_seconds"), int(facts["n_timesteps"])
    if budget <= 0 or not math.isfinite(seconds or 0):
        raise ValueError(f"{budget} steps in {seconds} s")
    return Measured(
        name=name,
        game=run.game,
        recipe=facts["recipe"],
        algo=facts["algo"],
        seed=facts["seed"],
        budget=budget * facts["frame_skip"],
        frame_skip=facts["frame_skip"],
        protocol=_protocol(run, scores.shape[1]),
        hyperparams=run.hyperparams,
        steps=steps,
        scores=scores,
        seconds=None if seconds is None else float(seconds),
        hardware=_hardware(facts.get("hardware") or {}),
        video=video if video.is_file() else None,
        baselines=baselines_of(run),
    )


def _protocol(run: Run, episodes: int) -> dict[str, float]:
    """Of the evaluations in a training: what differs from the usual is in its command."""
    words = shlex.split(str(run.facts.get("command", "")))
    given = [b for a, b in pairwise(words) if a == "--eval-epsilon"]
    given += [word.partition("=")[2] for word in words if word.startswith("--eval-epsilon=")]
    epsilon = float(given[-1]) if given else EPSILON
    whole = Protocol(episodes=episodes, epsilon=epsilon).describe(run.game, run.hyperparams)
    return {name: whole[name] for name in PROTOCOL}


def _hardware(facts: dict[str, Any]) -> str:
    return str(facts.get("gpu") or f"{facts.get('cpus', '?')} CPUs")
