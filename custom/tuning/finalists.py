"""The end of a search: its best trials and the recipe itself, trained anew on fresh seeds.

The best of many noisy scores is too good to be true. What is called better here is so over seeds
that no trial had, with an interval, and beside the recipe that was to be improved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from custom.atomic import atomic_file
from custom.compare import statistics
from custom.compare.comparison import Data, compare
from custom.compare.from_logs import from_logs
from custom.matrix import Cell, Matrix
from custom.recipe.recipe import Recipe
from custom.tuning.plan import FINALISTS, Plan

RECIPE = "recipe-itself"


@dataclass(frozen=True)
class Finalist:
    """One of those that are trained anew.

    :param trial: its number; None: the recipe itself
    """

    name: str
    trial: int | None
    recipe: Recipe


def finalists(study: optuna.Study, plan: Plan, number: int) -> list[Finalist]:
    """The recipe itself, and the best trials at other points."""
    space = plan.space
    found = [Finalist(RECIPE, None, plan.recipe_of(RECIPE, space.own()))]
    for trial in best_first(study):
        recipe = plan.recipe_of(f"trial-{trial.number}", trial.params)
        if all(recipe.hyperparams != other.recipe.hyperparams for other in found):
            found.append(Finalist(recipe.name, trial.number, recipe))
        if len(found) > number:
            break
    return found


def best_first(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that were trained to their end, the best first."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(done, key=lambda trial: (-float(trial.value or 0.0), trial.number))


def matrix_of(found: list[Finalist], plan: Plan, folder: Path, n_seeds: int, **how: Any) -> Matrix:
    """Their runs.

    :param folder: of the study on this machine
    :param how: device and resources
    """
    logs = folder / "finalists"
    logs.mkdir(parents=True, exist_ok=True)
    cells = []
    for finalist in found:
        file = logs / f"{finalist.name}.yml"
        with atomic_file(file, "w") as opened:
            opened.write(finalist.recipe.to_yaml(plan.env_id))
        recipe = replace(finalist.recipe, file=file.absolute())
        cells += [Cell(plan.game, recipe, plan.trial_seed(FINALISTS + i)) for i in range(n_seeds)]
    ordered = tuple(sorted(cells, key=lambda cell: cell.seed))  # whole rounds first
    return Matrix(ordered, logs, plan.evaluations, plan.episodes, plan.engine, **how)


def rank(found: list[Finalist], plan: Plan, matrix: Matrix) -> tuple[Data, list[Data]]:
    """Compare them by the study's objective, each with the recipe.

    :param matrix: of their runs; others in its folder do not count

    :return: the comparison of all of them, and the ranking, the best first: name, trial, seeds,
        mean, IQM with its interval, and what can be said of it beside the recipe
    :raises UserError: one has no run
    """
    all_runs, left_out = from_logs(matrix.logs, [plan.game], [f.name for f in found])
    of_it = {(run.recipe, run.seed): run for run in matrix.measured(all_runs)}
    runs = list(of_it.values())  # each seed once
    scores = {
        f.name: np.array([plan.value(list(run.means)) for run in runs if run.recipe == f.name])
        for f in found
    }
    pairs = {
        f.name: statistics.pair(scores[f.name][:, None], scores[RECIPE][:, None])
        for f in found
        if f.trial is not None
    }
    statistics.judge(list(pairs.values()))  # of these alone: they are what is asked
    ranking = []
    for finalist in found:
        name = finalist.name
        verdict = str(pairs[name]["verdict"]) if name in pairs else "the recipe itself"
        own = {"name": name, "trial": finalist.trial, "seeds": len(scores[name])}
        ranking.append({**own, "verdict": verdict, **statistics.summary(scores[name])})
    # A tie is the recipe's: nothing is better for being new.
    ranking.sort(key=lambda one: (-one["mean"], one["trial"] is not None))
    return compare(runs, left_out), ranking
