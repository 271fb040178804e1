"""`make tune-best`: the winner of a study as a recipe that `make train` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna

from custom.compare.comparison import Data
from custom.learner.engine import Engine
from custom.system.errors import UserError
from custom.system.files import atomic_file
from custom.tuning.finalists import RECIPE
from custom.tuning.plan import Plan
from custom.tuning.study import BEGUN, RANKING, best_first, results


def keep_ranking(study: optuna.Study, ranking: list[Data]) -> None:
    """Write how the finalists did into the study."""
    study.set_user_attr(RANKING, {"results": _n_results(study), "rows": ranking})


def write_best(study: optuna.Study, plan: Plan, out: Path) -> str:
    """Write the winner: what is better than the recipe on fresh seeds, or else the recipe itself.

    :return: what was written, in words
    :raises UserError: no trial is complete yet, or `out` exists and is not of this study
    """
    about, chosen = _winner(study, plan)
    begun = study.user_attrs.get(BEGUN)
    mark = f"# make tune-best of study {study.study_name}, begun {begun}: "
    _check(out, mark)
    engine = " ".join(engine_flags(plan.engine))
    with_engine = f" with {engine}" if engine else ""
    head = [
        f"{mark}{plan.recipe}, {plan.env_id}.",
        f"# {about}",
        f"# Objective: {plan.objective} score of {plan.steps:,} steps{with_engine}. For longer"
        " trainings look at learning_starts and exploration_fraction, which are of this budget.",
        plan.recipe_of(out.stem, chosen).to_yaml(plan.env_id),
    ]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out, "w") as file:
            file.write("\n".join(head))
    except OSError as error:
        raise UserError(f"OUT {out}: cannot be written ({error.strerror})") from None
    return about


def engine_flags(engine: Engine) -> list[str]:
    """The variables of `make train` for an engine."""
    envs = [f"ENVS={engine.n_envs}"] if engine.n_envs else []
    is_default = engine.precision == "float32"
    return envs if is_default else [*envs, f"ARGS='--precision {engine.precision}'"]


def _check(out: Path, mark: str) -> None:
    if out.suffix not in (".yml", ".yaml"):
        raise UserError(f"OUT {out}: a recipe's name ends in .yml")
    if out.exists() and not (out.is_file() and out.read_text(errors="replace").startswith(mark)):
        raise UserError(f"OUT {out}: exists already; name another file")


def _winner(study: optuna.Study, plan: Plan) -> tuple[str, dict[str, Any]]:
    """The winner in words, and its point."""
    ranking = study.user_attrs.get(RANKING, {})
    if ranking.get("results") != _n_results(study):  # none, or there are more trials since
        complete = best_first(study.get_trials(deepcopy=False))
        if not complete:
            name = study.study_name
            raise UserError(f"STUDY {name}: no trial is complete yet; go on with make tune")
        best = complete[0]
        return f"Trial {best.number}, {best.value:.1f} in the search, on one seed.", best.params
    rows = ranking["rows"]
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


def _n_results(study: optuna.Study) -> int:
    return len(results(study.get_trials(deepcopy=False)))
