"""`make tune-best`: the winner of a study as a recipe that `make train` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna

from custom.compare.comparison import Data
from custom.system.errors import UserError
from custom.system.files import atomic_file
from custom.tuning.finalists import RECIPE
from custom.tuning.plan import Plan
from custom.tuning.study import RANKING, best_first


def write_best(study: optuna.Study, plan: Plan, out: Path) -> str:
    """Write the winner: what is better than the recipe on fresh seeds, or else the recipe itself.

    :return: what was written, in words
    :raises UserError: no trial is complete yet, or `out` exists
    """
    if out.suffix not in (".yml", ".yaml"):
        raise UserError(f"OUT {out}: a recipe's name ends in .yml")
    if out.exists():
        raise UserError(f"OUT {out}: exists already; name another file, or remove it")
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
    rows = study.user_attrs.get(RANKING)
    if rows is None:
        complete = best_first(study.get_trials(deepcopy=False))
        if not complete:
            name = study.study_name
            raise UserError(f"STUDY {name}: no trial is complete yet; go on with make tune")
        best = complete[0]
        return f"Trial {best.number}, {best.value:.1f} in the search, on one seed.", best.params
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
