"""Runs to compare: from the run folders of this machine, or from a project on W&B."""

import glob
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from custom.compare.measured import Measured, measured
from custom.evaluation.baselines import baselines, baselines_file, levels, levels_of
from custom.recipe.check import check
from custom.recipe.games import Game
from custom.recipe.recipe import recipe_name
from custom.runs.folder import open_run
from custom.runs.listing import state_of
from custom.runs.metrics import FloatArray, evaluations
from custom.system.errors import UserError
from custom.tracking import client
from custom.tracking.tracker import AT_THE_END

if TYPE_CHECKING:
    from wandb.apis.public import Run

Runs = tuple[list[Measured], list[str]]
Reader = Callable[[], Measured]  # raises UserError for a run that cannot be compared


def from_logs(logs: Path, games: list[Game], recipes: list[str]) -> Runs:
    """The runs of games and recipes below a folder; see `gather`."""

    def readers(recipe: str, game: Game) -> Iterator[Reader]:
        pattern = f"*/{glob.escape(game.folder_name)}_[0-9]*/run.json"
        return (partial(_of_folder, file.parent) for file in sorted((logs / recipe).glob(pattern)))

    return gather(games, recipes, str(logs), readers)


def from_wandb(project: str, games: list[Game], recipes: list[str], logs: Path) -> Runs:
    """The runs of games and recipes in a project; see `gather`.

    :param project: ``entity/name``, or the name of one of the user's projects
    :param logs: folder of measured baselines
    :raises UserError: also where W&B does not answer
    """

    def readers(recipe: str, game: Game) -> Iterator[Reader]:
        import wandb

        file = baselines_file(logs, recipe, game)
        asked = {"config.env_id": game.env_id, "config.recipe": recipe}
        for run in wandb.Api().runs(project, asked, order="+created_at", lazy=False):
            yield partial(_of_wandb, run, game, file)

    with _one_line(f"PROJECT {project}"):
        client.log_in()
        return gather(games, recipes, f"{project} on W&B", readers)


def gather(
    games: list[Game],
    recipes: list[str],
    place: str,
    readers: Callable[[str, Game], Iterable[Reader]],
) -> Runs:
    """The runs of games and recipes.

    :param place: where they are, for messages
    :param readers: of the runs of a recipe and game
    :return: runs: recipe by recipe, game by game, by the time of their start; and one line for each
        run that is left out
    :raises UserError: a recipe has no run that can be compared
    """
    runs: list[Measured] = []
    left_out: list[str] = []
    for recipe in dict.fromkeys(map(_name, recipes)):
        by_game: dict[str, list[Measured]] = {game.env_id: [] for game in games}
        reasons: list[str] = []
        for game in games:
            for read in readers(recipe, game):
                try:
                    by_game[game.env_id].append(read())
                except UserError as error:
                    reasons.append(str(error))
        if not any(by_game.values()):
            what = f"no run of {', '.join(by_game)} with {recipe} in {place}"
            why = f" can be compared: {'; '.join(reasons)}" if reasons else ""
            raise UserError(f"{what}{why}; train one with make train")
        for of_game in by_game.values():
            runs += sorted(of_game, key=lambda run: run.started)
        missing = [f"{env_id}, {recipe}: no run" for env_id, found in by_game.items() if not found]
        left_out += reasons + missing
    return runs, left_out


def _name(recipe: str) -> str:
    """The name of a recipe that may be given as a file."""
    if recipe.endswith((".yml", ".yaml")) and not Path(recipe).is_file():
        raise UserError(f"RECIPES {recipe!r}: there is no such file")
    return recipe_name(recipe)


def _of_folder(folder: Path) -> Measured:
    run = open_run(folder)
    evaluated = evaluations(run) or {"timesteps": np.empty(0), "results": np.empty(0)}
    video = run.path / "replay.mp4"
    return measured(
        str(folder),
        {**run.facts, "state": state_of(run)},
        hyperparams=run.hyperparams,
        steps=evaluated["timesteps"],
        scores=evaluated["results"],
        levels=levels_of(run),
        video=video if video.is_file() else None,
    )


def _of_wandb(run: "Run", game: Game, baselines_of_game: Path) -> Measured:
    name = "/".join(run.path)
    with _one_line(name):
        facts = dict(run.config)
        given = facts.pop("hyperparams", None)
        if not isinstance(given, dict):
            raise UserError(f"{name}: was not tracked by this project")
        at_the_end = {k: run.summary_metrics[k] for k in AT_THE_END if k in run.summary_metrics}
        hyperparams = check(given, str(facts["algo"]))
        known = levels(game, hyperparams, baselines(baselines_of_game, hyperparams))
    with _one_line(f"{name}: evaluations"):
        steps, scores = _evaluations(run)
    facts |= {"state": run.state, **at_the_end}
    return measured(name, facts, hyperparams=hyperparams, steps=steps, scores=scores, levels=known)


def _evaluations(run: "Run") -> tuple[FloatArray, FloatArray]:
    """Steps, (N,), and scores, (N, games); of two evaluations at one step, the later one."""
    rows = run.scan_history(keys=["steps", "eval/scores"], use_cache=False)
    by_step = {int(row["steps"]): row["eval/scores"] for row in rows}
    steps = sorted(by_step)
    scores = np.array([by_step[step] for step in steps], dtype=float)
    if scores.size and scores.ndim != 2:
        raise ValueError(f"scores of shape {scores.shape}")
    return np.array(steps, dtype=float), scores


@contextmanager
def _one_line(place: str) -> Iterator[None]:
    """Turn what the client raises, which may be any exception, into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{place}: cannot be read ({client.reason(error)})") from None
