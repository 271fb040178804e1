"""Runs to compare, from a project on W&B that trainings with TRACK= filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from custom.compare.from_logs import Runs, gather
from custom.compare.measured import Measured, measured
from custom.evaluation.baselines import baselines_file, read_baselines
from custom.recipe.check import check
from custom.recipe.games import Game
from custom.runs.metrics import FloatArray
from custom.system.errors import UserError
from custom.tracking import client
from custom.tracking.callback import AT_THE_END

if TYPE_CHECKING:
    from wandb.apis.public import Run


def from_wandb(project: str, games: list[Game], recipes: list[str], logs: Path) -> Runs:
    """The runs of games and recipes in a project; see `gather`.

    :param project: ``entity/name``, or the name of one of the user's projects
    :param logs: folder of measured baselines
    :raises UserError: also where W&B does not answer
    """

    def readers(recipe: str) -> Iterator[Callable[[], Measured]]:
        for game in games:
            baselines = baselines_file(logs, recipe, game)
            for run in client.runs(project, {"env_id": game.env_id, "recipe": recipe}):
                yield partial(_read, run, baselines)

    with _one_line(f"PROJECT {project}"):
        try:
            client.log_in()
        except client.RefusedError as error:
            raise UserError(f"W&B: {error}") from None
        return gather(games, recipes, f"{project} on W&B", readers)


@contextmanager
def _one_line(place: str) -> Iterator[None]:
    """Turn what the client raises, which may be any exception, into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{place}: cannot be read ({client.reason(error)})") from None


def _read(run: Run, baselines: Path) -> Measured:
    name = "/".join(run.path)
    with _one_line(name):
        facts = dict(run.config)
        hyperparams = facts.pop("hyperparams", None)
        if not isinstance(hyperparams, dict):
            raise UserError(f"{name}: was not tracked by this project")
        at_the_end = {k: run.summary_metrics[k] for k in AT_THE_END if k in run.summary_metrics}
        values = check(hyperparams, str(facts["algo"]))
        facts |= {"state": run.state, **at_the_end}
        known = read_baselines(baselines, values)
    with _one_line(f"{name}: evaluations"):
        steps, scores = _evaluations(run)
    return measured(name, facts, values, steps, scores, baselines=known)


def _evaluations(run: Run) -> tuple[FloatArray, FloatArray]:
    """Steps, (N,), and scores, (N, games); of two evaluations at one step, the later one."""
    rows = run.scan_history(keys=["steps", "eval/scores"], use_cache=False)
    by_step = {int(row["steps"]): row["eval/scores"] for row in rows}
    steps = sorted(by_step)
    scores = np.array([by_step[step] for step in steps], dtype=float)
    if scores.size and scores.ndim != 2:
        raise ValueError(f"scores of shape {scores.shape}")
    return np.array(steps, dtype=float), scores
