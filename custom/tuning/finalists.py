"""The end of a search: its best trials and the recipe itself on fresh seeds; the winner's recipe.

The best of many noisy scores is too good to be true. A trial is better only if it beats the recipe
over seeds that no trial had.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from custom.compare import statistics
from custom.compare.comparison import Data, compare
from custom.compare.sources import from_logs
from custom.jobs.matrix import Cell, Matrix
from custom.jobs.task import Resources
from custom.learner.engine import Engine
from custom.recipe.recipe import Recipe
from custom.system.errors import UserError
from custom.system.files import atomic_file
from custom.tuning.study import FINALISTS, RANKING, Plan, best_first

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
    runs = {(run.recipe, run.seed): run for run in found if Path(run.name).absolute() in paths}
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


def write_best(study: optuna.Study, plan: Plan, out: Path) -> str:
    """Write the winner: what is better than the recipe on fresh seeds, or else the recipe itself.

    :return: what was written, in words
    :raises UserError: the finalists are not ranked yet, or `out` exists
    """
    if out.suffix not in (".yml", ".yaml"):
        raise UserError(f"OUT {out}: a recipe's name ends in .yml")
    if out.exists():
        raise UserError(f"OUT {out}: exists already; name another file, or remove it")
    if RANKING not in study.user_attrs:
        name = study.study_name
        raise UserError(f"STUDY {name}: its finalists are not trained yet; go on with make tune")
    about, chosen = _winner(study, plan)
    envs = f" with ENVS={plan.n_envs}" if plan.n_envs else ""
    head = [
        f"# make tune-best of study {study.study_name}: {plan.recipe}, {plan.env_id}.",
        f"# {about}",
        f"# Objective: final score of {plan.steps:,} steps{envs}. For longer trainings look"
        " at learning_starts and exploration_fraction, which are of this budget.",
        plan.recipe_of(out.stem, chosen).to_yaml(plan.env_id),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out, "w") as file:
        file.write("\n".join(head))
    return about


def _winner(study: optuna.Study, plan: Plan) -> tuple[str, dict[str, Any]]:
    """The winner in words, and its point."""
    rows = study.user_attrs[RANKING]
    for row in rows:
        if row["verdict"] == "better":
            trial = study.trials[row["trial"]]
            search = f"Trial {trial.number}, {trial.value:.1f} in the search"
            better = f"{search}; trained anew: {_scores(row)}, better than the recipe itself."
            return better, trial.params
    recipe = next(row for row in rows if row["name"] == RECIPE)
    verdicts = "; ".join(f"{row['name']}: {row['verdict']}" for row in rows if row != recipe)
    return (
        "Nothing better than the recipe was found: these are its own values for this budget;"
        f" trained anew: {_scores(recipe)}. {verdicts}",
        plan.space.recipe_point(),
    )


def _scores(row: Data) -> str:
    ends = row["iqm_95"]
    interval = f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else ""
    return f"mean {row['mean']:.1f}, IQM {row['iqm']:.1f}{interval} over {row['seeds']} fresh seeds"
