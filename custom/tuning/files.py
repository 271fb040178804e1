"""What a study leaves as files: all trials as CSV and JSON, and Optuna's plots; no pickle."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import optuna
import pandas as pd
from optuna.trial import TrialState

from custom.system.console import say
from custom.system.files import atomic_file
from custom.tuning.study import plan_of, results

PLOTS = {
    "history": "plot_optimization_history",
    "slices": "plot_slice",
    "timeline": "plot_timeline",
    "importances": "plot_param_importances",
    "parallel": "plot_parallel_coordinate",
}


def write_files(study: optuna.Study, folder: Path) -> None:
    """Write ``trials.csv``, ``trials.json`` and ``plots/``."""
    folder.mkdir(parents=True, exist_ok=True)
    trials = study.get_trials(deepcopy=False)
    counted = results(trials)
    columns = ("number", "state", "value", "duration", "user_attrs", "params")
    table = study.trials_dataframe(columns)
    table = table.rename(columns=lambda name: re.sub("^(user_attrs|params)_", "", name))
    table.insert(2, "counts", [trial in counted for trial in trials])
    table["duration"] = table["duration"].dt.total_seconds()
    with atomic_file(folder / "trials.csv", "w") as file:
        table.to_csv(file, index=False)
    table["evaluations"] = pd.Series([trial.intermediate_values for trial in trials])
    with atomic_file(folder / "trials.json", "w") as file:
        table.to_json(file, orient="records", indent=1, double_precision=15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of plots of few trials
        draw(study, folder / "plots")


def draw(study: optuna.Study, folder: Path) -> None:
    """Each plot as a page that needs no network."""
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier time
    folder.mkdir()
    needed = 2 * len(plan_of(study).space.dimensions)
    n_complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    for name, function in PLOTS.items():
        if name == "importances" and n_complete < needed:
            say(f"no plot of importances: they need {needed} complete trials")
            continue
        try:
            page = getattr(optuna.visualization, function)(study)
            page.write_html(folder / f"{name}.html", include_plotlyjs=True)
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            say(f"no plot of {name}: {' '.join(str(error).split())}")
