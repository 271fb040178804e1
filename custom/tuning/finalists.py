"""The end of a search: its best trials and the recipe itself, trained anew on fresh seeds.

The best of many noisy scores is too good to be true. What is called better here is so over seeds
that no trial had, with an interval, and beside the recipe that was to be improved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from custom.compare.comparison import Data, compare
from custom.compare.from_logs import from_logs
from custom.errors import UserError
from custom.matrix import Cell, Matrix
from custom.recipes import Recipe
from custom.runs import atomic_file
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


def rank(found: list[Finalist], plan: Plan, folder: Path) -> tuple[Data, list[str]]:
    """Compare them.

    :return: the comparison, and their names, the best first: by the mean over seeds
    :raises UserError: one has no run
    """
    data = compare(*from_logs(folder / "finalists", [plan.game], [f.name for f in found]))
    columns = {column["label"]: column for column in data["games"][0]["columns"]}
    if len(columns) != len(found):
        raise UserError(f"{folder / 'finalists'}: holds runs of other settings; delete it")
    # A tie is the recipe's: nothing is better for being new.
    names = [finalist.name for finalist in found]
    names.sort(key=lambda name: (-columns[name]["mean"], name != RECIPE))
    return data, names


def beside_the_recipe(data: Data, name: str) -> str:
    """What the comparison says of a finalist and the recipe."""
    if name == RECIPE:
        return "it is the recipe itself: nothing better was found"
    for pair in data["games"][0]["pairs"]:
        if {pair["x"], pair["y"]} == {name, RECIPE}:
            if pair["verdict"] not in ("better", "worse"):
                return str(pair["verdict"])
            is_first = pair["x"] == name
            return "better" if (pair["verdict"] == "better") == is_first else "worse"
    return "not comparable"
