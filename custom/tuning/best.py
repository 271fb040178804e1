"""`make tune-best`: the winner of a study as a recipe that `make train` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import yaml

from custom.errors import UserError
from custom.runs import atomic_file
from custom.tuning.finalists import RECIPE, best_first
from custom.tuning.plan import Plan

RANKING = "ranking.json"


def write_best(study: optuna.Study, plan: Plan, folder: Path, out: Path) -> str:
    """Write the winner.

    :param folder: of the study on this machine, with the ranking where finalists were trained
    :return: what was written, in words
    :raises UserError: there is no trial yet, or `out` is there and not of this study
    """
    lines, chosen = _winner(study, plan, folder)
    mark = f"# The best of study {study.study_name}"
    if out.is_file() and not out.read_text(errors="replace").startswith(mark):
        raise UserError(f"OUT {out}: is there already; name another file")
    values: dict[str, Any] = dict(plan.space.resolve(chosen))
    budget = f"# Unit: steps. Searched with {plan.steps:,} steps a trial; STEPS trains longer."
    algo = {} if plan.algo == "dqn" else {"algo": plan.algo}
    text = yaml.safe_dump({plan.env_id: {**algo, **values}}, sort_keys=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out, "w") as file:
        file.write("\n".join([f"{mark}: {plan.recipe}, {plan.env_id}.", *lines, budget, text]))
    return "\n".join(line.removeprefix("# ") for line in lines)


def _winner(study: optuna.Study, plan: Plan, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """The header's lines, and the winner's point."""
    space, trials = plan.space, study.get_trials(deepcopy=False)
    file = folder / RANKING
    if file.is_file():
        first = json.loads(file.read_text())["ranking"][0]
        where = first["iqm_95"]
        interval = f" [{where[0]:.1f}, {where[1]:.1f}]" if where else ""
        line = (
            f"# Trained anew on {len(first['seeds'])} fresh seeds: mean {first['mean']:.1f}, IQM"
            f" {first['iqm']:.1f}{interval} (95 %). Beside the recipe itself: {first['verdict']}."
        )
        if first["trial"] is None:
            return [
                f"# Nothing better than the recipe was found: these are its values. {line[2:]}"
            ], space.own()
        trial = trials[first["trial"]]
        return [f"# Trial {trial.number}, {trial.value:.1f} in the search.", line], trial.params
    done = best_first(study)
    if not done:
        raise UserError(f"STUDY {study.study_name}: no trial is complete yet; go on with make tune")
    best = done[0]
    line = f"# Trial {best.number}, {best.value:.1f} in the search: one seed, not trained anew."
    return [line], best.params


def write_ranking(
    data: dict[str, Any], names: list[str], verdicts: list[str], folder: Path
) -> None:
    """What `write_best` reads."""
    columns = {column["label"]: column for column in data["games"][0]["columns"]}
    ranking = [
        {
            "name": name,
            "trial": None if name == RECIPE else int(name.rpartition("-")[2]),
            "verdict": verdict,
            **{key: columns[name][key] for key in ("seeds", "mean", "median", "iqm", "iqm_95")},
        }
        for name, verdict in zip(names, verdicts, strict=True)
    ]
    with atomic_file(folder / RANKING, "w") as file:
        json.dump({"ranking": ranking}, file, indent=1)
