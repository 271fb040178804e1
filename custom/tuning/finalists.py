"""The end of a search: its best trials and the recipe itself, trained anew on fresh seeds.

The best of many noisy scores is too good to be true. A trial is better only if it beats the recipe
over seeds that no trial had.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna

from custom.compare import statistics
from custom.compare.comparison import Data, compare
from custom.compare.from_logs import from_logs
from custom.jobs.matrix import Cell, Matrix
from custom.jobs.task import Resources
from custom.learner.engine import Engine
from custom.recipe.recipe import Recipe
from custom.system.files import atomic_file
from custom.tuning.plan import FINALISTS, Plan
from custom.tuning.study import best_first

RECIPE = "recipe-itself"
Finalists = dict[int | None, Recipe]  # by number of the trial; None: the recipe itself


def finalists(study: optuna.Study, plan: Plan, number: int) -> Finalists:
    """The recipe itself, and the best trials that are something else."""
    chosen: Finalists = {None: plan.recipe_of(RECIPE, plan.space.recipe_point())}
    for trial in best_first(study.get_trials(deepcopy=False)):
        recipe = plan.recipe_of(f"trial-{trial.number}", trial.params)
        if all(recipe.hyperparams != other.hyperparams for other in chosen.values()):
            chosen[trial.number] = recipe
        if len(chosen) > number:
            break
    return chosen


def matrix_of(
    chosen: Finalists, plan: Plan, folder: Path, n_seeds: int, device: str, resources: Resources
) -> Matrix:
    """Their runs.

    :param folder: of the study on this machine
    """
    logs = folder / "finalists"
    logs.mkdir(parents=True, exist_ok=True)
    recipes = []
    for recipe in chosen.values():
        path = logs / f"{recipe.name}.yml"
        with atomic_file(path, "w") as file:
            file.write(recipe.to_yaml(plan.env_id))
        recipes.append(replace(recipe, file=path.absolute()))
    seeds = [plan.seed_of(FINALISTS + i) for i in range(n_seeds)]
    cells = tuple(Cell(plan.game, recipe, seed) for seed in seeds for recipe in recipes)
    engine = Engine(n_envs=plan.n_envs)
    return Matrix(cells, logs, plan.evaluations, plan.episodes, engine, device, resources)


def rank(chosen: Finalists, plan: Plan, matrix: Matrix) -> tuple[Data, list[Data]]:
    """Compare them by their last evaluations, each with the recipe.

    :param matrix: of their runs; other runs in its folder do not count
    :return: the comparison of all of them, and the ranking, the best first: name, trial, seeds,
        mean, IQM with its interval, and the verdict beside the recipe
    :raises UserError: one has no run
    """
    names = [recipe.name for recipe in chosen.values()]
    found, left_out = from_logs(matrix.logs, [plan.game], names)
    paths = matrix.paths()
    runs = {(run.recipe, run.seed): run for run in found if Path(run.name).resolve() in paths}
    scores = {
        name: np.array([run.means[-1] for run in runs.values() if run.recipe == name])
        for name in names
    }
    pairs = {
        name: statistics.pair(scores[name][:, None], scores[RECIPE][:, None])
        for name in names
        if name != RECIPE
    }
    statistics.judge(list(pairs.values()))  # adjusted for the number of finalists
    ranking: list[Data] = [
        {
            "name": recipe.name,
            "trial": trial,
            "seeds": len(scores[recipe.name]),
            "verdict": "the recipe itself" if trial is None else pairs[recipe.name]["verdict"],
            **statistics.summary(scores[recipe.name]),
        }
        for trial, recipe in chosen.items()
    ]
    # A tie is the recipe's: nothing is better for being new.
    ranking.sort(key=lambda row: (-row["mean"], row["trial"] is not None))
    return compare(list(runs.values()), left_out), ranking
