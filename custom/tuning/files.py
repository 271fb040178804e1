"""What a study leaves as files: all trials as CSV and JSON, and pictures; no pickle."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from custom.atomic import atomic_file
from custom.console import say
from custom.tuning.ledger import REPEATED, RUN, reason_of, results
from custom.tuning.study import plan_of

PICTURES = {
    "history": "plot_optimization_history",
    "importances": "plot_param_importances",
    "slices": "plot_slice",
    "parallel": "plot_parallel_coordinate",
    "timeline": "plot_timeline",
    "curves": "plot_intermediate_values",
}
FACTS = ("number", "state", "value", "counts", "seed", "seconds", "repeats", "reason", "run")


def write_files(study: optuna.Study, folder: Path) -> None:
    """Write ``trials.csv``, ``trials.json`` and ``plots/``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = study.get_trials(deepcopy=False)
    counted = {trial.number for trial in results(found)}
    trials = [{**facts_of(trial), "counts": trial.number in counted} for trial in found]
    plan = json.loads(plan_of(study).to_json())
    with atomic_file(folder / "trials.json", "w") as file:
        json.dump({"study": study.study_name, "plan": plan, "trials": trials}, file, indent=1)
    names = [dimension.name for dimension in plan_of(study).space.dimensions]
    with atomic_file(folder / "trials.csv", "w") as file:
        writer = csv.writer(file)
        writer.writerow([*FACTS, *names])
        for facts in trials:
            own = [facts[name] for name in FACTS]
            writer.writerow([*own, *(facts["params"].get(name) for name in names)])
    draw(study, folder / "plots")


def facts_of(trial: FrozenTrial) -> dict[str, Any]:
    """A trial in plain values."""
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value if trial.state is TrialState.COMPLETE else None,
        "seed": trial.user_attrs.get("seed"),
        "seconds": None if trial.duration is None else trial.duration.total_seconds(),
        "repeats": trial.user_attrs.get(REPEATED),
        "reason": reason_of(trial) if trial.state is TrialState.FAIL else None,
        "run": trial.user_attrs.get(RUN),
        "evaluations": {str(k): v for k, v in trial.intermediate_values.items()},
        "params": trial.params,
    }


def draw(study: optuna.Study, folder: Path) -> None:
    """Each picture as HTML, which needs no network, and as PNG."""
    folder.mkdir(exist_ok=True)
    for name, function in PICTURES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.simplefilter("ignore", UserWarning)  # of pictures of few trials
            _draw(study, getattr(optuna.visualization, function), folder / f"{name}.html")
            _draw(study, getattr(optuna.visualization.matplotlib, function), folder / f"{name}.png")


def _make_room(figure: Figure, dimensions: int) -> None:
    """So that names and numbers of many dimensions do not lie over each other."""
    wide = figure.get_figwidth() >= 2 * dimensions
    if not wide:
        figure.set_size_inches(max(1.5 * dimensions, 8), 6)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        if sum(low <= tick <= high for tick in axes.get_xticks()) > 1:
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", labelrotation=30)


def _draw(study: optuna.Study, plot: Callable[..., Any], file: Path) -> None:
    """One picture; some need more trials, or more that differ, than there are."""
    with suppress(FileNotFoundError):
        file.unlink()  # of an earlier time
    try:
        made = plot(study)
        if file.suffix == ".html":
            made.write_html(file, include_plotlyjs=True)
        else:
            figure = (made.flat[0] if hasattr(made, "flat") else made).figure
            _make_room(figure, len(plan_of(study).space.dimensions))
            figure.savefig(file, dpi=120, bbox_inches="tight")
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        say(f"no picture {file.name}: {' '.join(str(error).split())}")
    finally:
        plt.close("all")
