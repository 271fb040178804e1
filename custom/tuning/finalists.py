"""The end of a search: its best trials and the recipe itself, trained anew on fresh seeds.

The best of many noisy scores is too good to be true. A trial is better only if it beats the recipe
over seeds that no trial had.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from custom.compare import statistics
from custom.compare.comparison import Data, compare
from custom.compare.sources import from_logs
from custom.jobs.matrix import Cell, Matrix
from custom.recipe.recipe import Recipe
from custom.system.files import atomic_file
from custom.tuning.plan import FINALISTS, Plan
from custom.tuning.study import best_first

RECIPE = "recipe-itself"


@dataclass(frozen=True)
class Finalist:
    """What is trained anew.

    :param trial: number of the trial; None: the recipe itself
    """

    name: str
    trial: int | None
    recipe: Recipe


def finalists(study: optuna.Study, plan: Plan, number: int) -> list[Finalist]:
    """The recipe itself, and the best trials that are something else."""
    chosen = [Finalist(RECIPE, None, plan.recipe_of(RECIPE, plan.space.recipe_point()))]
    for trial in best_first(study.get_trials(deepcopy=False)):
        recipe = plan.recipe_of(f"trial-{trial.number}", trial.params)
        if all(recipe.hyperparams != other.recipe.hyperparams for other in chosen):
            chosen.append(Finalist(recipe.name, trial.number, recipe))
        if len(chosen) > number:
            break
    return chosen


def matrix_of(chosen: list[Finalist], plan: Plan, folder: Path, n_seeds: int, **how: Any) -> Matrix:
    """Their runs.

    :param folder: of the study on this machine
    :param how: device, resources and the like, as `Matrix` takes them
    """
    logs = folder / "finalists"
    logs.mkdir(parents=True, exist_ok=True)
    recipes = []
    for finalist in chosen:
        path = logs / f"{finalist.name}.yml"
        with atomic_file(path, "w") as file:
            file.write(finalist.recipe.to_yaml(plan.env_id))
        recipes.append(replace(finalist.recipe, file=path.absolute()))
    seeds = [plan.trial_seed(FINALISTS + i) for i in range(n_seeds)]
    cells = tuple(Cell(plan.game, recipe, seed) for seed in seeds for recipe in recipes)
    return Matrix(cells, logs, plan.evaluations, plan.episodes, plan.engine, **how)


def rank(chosen: list[Finalist], plan: Plan, matrix: Matrix) -> tuple[Data, list[Data]]:
    """Compare them by the study's objective, each with the recipe.

    :param matrix: of their runs; other runs in its folder do not count
    :return: the comparison of all of them, and the ranking, the best first: name, trial, seeds,
        mean, IQM with its interval, and the verdict beside the recipe
    :raises UserError: one has no run
    """
    all_runs, left_out = from_logs(matrix.logs, [plan.game], [one.name for one in chosen])
    runs = list({(run.recipe, run.seed): run for run in matrix.measured(all_runs)}.values())
    scores = {
        one.name: np.array([plan.value(list(run.means)) for run in runs if run.recipe == one.name])
        for one in chosen
    }
    pairs = {
        name: statistics.pair(scores[name][:, None], scores[RECIPE][:, None])
        for name in scores
        if name != RECIPE
    }
    statistics.judge(list(pairs.values()))  # adjusted for the number of finalists
    ranking: list[Data] = [
        {
            "name": one.name,
            "trial": one.trial,
            "seeds": len(scores[one.name]),
            "verdict": str(pairs.get(one.name, {"verdict": "the recipe itself"})["verdict"]),
            **statistics.summary(scores[one.name]),
        }
        for one in chosen
    ]
    # A tie is the recipe's: nothing is better for being new.
    ranking.sort(key=lambda row: (-row["mean"], row["trial"] is not None))
    return compare(runs, left_out), ranking
