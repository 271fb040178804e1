"""What a study leaves as files: all trials as CSV and JSON, and Optuna's plots; no pickle."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
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
    table["evaluations"] = pd.Series([trial.intermediate_values for trial in trials])
    with atomic_file(folder / "trials.csv", "w") as file:
        table.drop(columns="evaluations").to_csv(file, index=False)
    with atomic_file(folder / "trials.json", "w") as file:
        table.to_json(file, orient="records", indent=1, double_precision=15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of plots of few trials
        draw(study, folder / "plots")


def draw(study: optuna.Study, folder: Path) -> None:
    """Each plot as HTML, which needs no network, and as PNG."""
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier time
    folder.mkdir()
    dimensions = len(plan_of(study).space.dimensions)
    n_complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    for name, function in PLOTS.items():
        if name == "importances" and n_complete < 2 * dimensions:
            say(f"no plot of importances: they need {2 * dimensions} complete trials")
            continue
        try:
            page = getattr(optuna.visualization, function)(study)
            page.write_html(folder / f"{name}.html", include_plotlyjs=True)
            getattr(optuna.visualization.matplotlib, function)(study)
            figure = plt.gcf()
            if name == "parallel":
                figure.set_size_inches(2 + 1.5 * dimensions, 6)
            for axes in figure.axes:  # names and numbers of many dimensions would overlap
                axes.tick_params(axis="x", which="both", labelrotation=60)
            figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            say(f"no plot of {name}: {' '.join(str(error).split())}")
        finally:
            plt.close("all")
