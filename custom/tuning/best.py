"""`make tune-best`: the winner of a study as a recipe that `make train` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna

from custom.atomic import atomic_file
from custom.compare.comparison import Data
from custom.engine import Engine
from custom.errors import UserError
from custom.tuning.finalists import RECIPE, best_first
from custom.tuning.ledger import results
from custom.tuning.plan import Plan
from custom.tuning.study import BEGUN

RANKING = "ranking.json"


def write_ranking(study: optuna.Study, ranking: list[Data], folder: Path) -> None:
    """What `write_best` reads, and of what it is."""
    with atomic_file(folder / RANKING, "w") as file:
        json.dump({**_of(study), "ranking": ranking}, file, indent=1)


def write_best(study: optuna.Study, plan: Plan, folder: Path, out: Path) -> str:
    """Write the winner: what is better than the recipe on fresh seeds, or else the recipe itself.

    :param folder: of the study on this machine, with the ranking where finalists were trained
    :return: what was written, in words
    :raises UserError: there is no trial yet, or `out` is there and not of this study
    """
    said, chosen = _winner(study, plan, folder)
    begun = study.user_attrs.get(BEGUN)
    mark = f"# make tune-best of study {study.study_name}, begun {begun}: "
    _check(out, mark)
    recipe = plan.recipe_of(out.stem, chosen)
    engine = " ".join(engine_flags(plan.engine))
    with_engine = f" with {engine}" if engine else ""
    head = [
        f"{mark}{plan.recipe}, {plan.env_id}.",
        f"# {said}",
        f"# Objective: {plan.objective} score of {plan.steps:,} steps{with_engine}; whoever trains"
        " longer looks at learning_starts and exploration_fraction, which are of this budget.",
    ]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out, "w") as file:
            file.write("\n".join([*head, recipe.to_yaml(plan.env_id)]))
    except OSError as error:
        raise UserError(f"OUT {out}: cannot be written ({error.strerror})") from None
    return said


def engine_flags(engine: Engine) -> list[str]:
    """The variables of `make train` for an engine."""
    envs = [f"ENVS={engine.n_envs}"] if engine.n_envs else []
    precise = engine.precision == "float32"
    more = [] if precise else [f"ARGS='--precision {engine.precision}'"]
    return [*envs, *more]


def _check(out: Path, mark: str) -> None:
    if out.suffix not in (".yml", ".yaml"):
        raise UserError(f"OUT {out}: a recipe's name ends in .yml")
    if out.exists() and not (out.is_file() and out.read_text(errors="replace").startswith(mark)):
        raise UserError(f"OUT {out}: is there already; name another file")


def _winner(study: optuna.Study, plan: Plan, folder: Path) -> tuple[str, dict[str, Any]]:
    """What is said of the winner, and its point."""
    ranking = _ranking(study, folder)
    if ranking is None:
        done = best_first(study)
        if not done:
            name = study.study_name
            raise UserError(f"STUDY {name}: no trial is complete yet; go on with make tune")
        found = (
            f"Trial {done[0].number}, {done[0].value:.1f} in the search: one seed, nothing more."
        )
        return found, done[0].params
    for one in ranking:
        if one["verdict"] == "better":
            trial = study.trials[one["trial"]]
            return (
                f"Trial {trial.number}, {trial.value:.1f} in the search; trained anew:"
                f" {_scores(one)}, better than the recipe itself.",
                trial.params,
            )
    itself = next(one for one in ranking if one["name"] == RECIPE)
    others = "; ".join(f"{one['name']}: {one['verdict']}" for one in ranking if one is not itself)
    return (
        "Nothing better than the recipe was found: these are its own values for this budget;"
        f" trained anew: {_scores(itself)}. {others}",
        plan.space.own(),
    )


def _scores(one: Data) -> str:
    ends = one["iqm_95"]
    interval = f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else ""
    return f"mean {one['mean']:.1f}, IQM {one['iqm']:.1f}{interval} over {one['seeds']} fresh seeds"


def _ranking(study: optuna.Study, folder: Path) -> list[Data] | None:
    """The ranking, where it is of all results that the study has."""
    file = folder / RANKING
    if not file.is_file():
        return None
    try:
        content: Data = json.loads(file.read_text())
        ranking: list[Data] = content.pop("ranking")
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{file}: is damaged ({error}); make tune writes it anew") from None
    return ranking if content == _of(study) else None


def _of(study: optuna.Study) -> Data:
    found = results(study.get_trials(deepcopy=False))
    begun = study.user_attrs.get(BEGUN)
    return {"study": study.study_name, "begun": begun, "results": len(found)}
