"""Which runs go into one column: those that differ in nothing but their seed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from custom.compare.measured import EvalProtocol, Measured
from custom.runs.metrics import FloatArray

COMPARABLE = ("budget", *EvalProtocol.model_fields)  # equal, or scores are not compared
SAME_END = 0.01  # of the budget, between last evaluations that are compared
LONGEST = 60  # letters of a label's settings
VARIANT = "variant "  # in a label whose settings are longer


@dataclass(frozen=True, eq=False)
class Column:
    """Runs of one game that differ in their seed alone, ordered by seed.

    :param label: the recipe, and the settings that tell it from other columns of the recipe
    """

    label: str
    runs: tuple[Measured, ...]

    @property
    def first(self) -> Measured:
        """One run, for what all have in common."""
        return self.runs[0]

    @property
    def curves(self) -> FloatArray:
        """(runs, N), mean raw score of each evaluation."""
        return np.stack([run.means for run in self.runs])

    @property
    def final(self) -> FloatArray:
        """(runs,), mean raw score of the last evaluation."""
        return self.curves[:, -1]


def columns_of(runs: list[Measured]) -> tuple[list[Column], list[str]]:
    """Sort runs into columns.

    :return: columns; and lines on seeds that were run twice, and on columns whose runs come from
        different code or machines
    """
    recipes: dict[tuple[str, str], dict[str, list[Measured]]] = {}
    for run in runs:
        groups = recipes.setdefault((run.played, run.recipe), {})
        groups.setdefault(json.dumps(settings(run), sort_keys=True), []).append(run)
    columns, notes = [], []
    for (played, recipe), groups in recipes.items():
        labels = _labels(recipe, [group[0] for group in groups.values()])
        for label, group in zip(labels, groups.values(), strict=True):
            latest = {run.seed: run for run in group}  # once more is no independent measurement
            notes += [
                f"{run.name}: left out, {latest[run.seed].name} has the same seed {run.seed}"
                for run in group
                if latest[run.seed] is not run
            ]
            columns.append(Column(label, tuple(latest[seed] for seed in sorted(latest))))
            origins = [
                {"git_revision": str(run.git_revision), **run.versions, "machine": run.machine}
                for run in latest.values()
            ]
            if names := list(_differing(table(origins)).index):
                notes.append(f"{played}, {label}: runs of different {', '.join(names)}")
    return columns, notes


def settings(run: Measured) -> dict[str, str]:
    """All that is the same within a column, as text; hyperparameters with dotted names."""
    hyperparams = run.hyperparams.model_dump(exclude={"n_timesteps"})
    values: dict[str, Any] = {
        "algo": run.algo,
        "budget": f"{run.budget / 1e6:g}M frames",
        **run.eval_protocol.model_dump(),
        **run.engine.model_dump(),
        "frame_skip": run.frame_skip,
        "began with": f"{its.taken} of {its.recipe}, {its.env_id}, {its.steps:,} steps"
        if (its := run.parent)
        else "nothing",
        "evaluated": _when(run.steps),
    }
    [flat] = pd.json_normalize(hyperparams).to_dict("records")
    values |= {str(name): value for name, value in flat.items()}
    return {name: _text(value) for name, value in values.items()}


def table(rows: Sequence[dict[str, str]]) -> pd.DataFrame:
    """A line for each key of any row, with its values in all of them; ``-`` where there is none."""
    return pd.DataFrame(rows).T.sort_index().fillna("-")


def differing(runs: Sequence[Measured]) -> pd.DataFrame:
    """The settings that are not the same in all runs."""
    return _differing(table([settings(run) for run in runs]))


def _differing(values: pd.DataFrame) -> pd.DataFrame:
    return values[values.nunique(axis=1) > 1]


def why_not(x: Column, y: Column) -> str:
    """Why two columns of a game are not compared; empty: they are."""
    a, b = settings(x.first), settings(y.first)
    different = [f"{name} {a[name]} and {b[name]}" for name in COMPARABLE if a[name] != b[name]]
    ends = [float(column.first.frames[-1]) for column in (x, y)]
    if not different and abs(ends[0] - ends[1]) > SAME_END * x.first.budget:
        different = [f"last evaluated after {ends[0]:,.0f} and {ends[1]:,.0f} frames"]
    return ", ".join(different)


def _labels(recipe: str, runs: list[Measured]) -> list[str]:
    """A label for each column of a recipe.

    :param runs: one of each column
    """
    if len(runs) == 1:
        return [recipe]
    values = differing(runs)
    texts = [", ".join(f"{name} {text}" for name, text in values[i].items()) for i in values]
    if max(map(len, texts)) > LONGEST or len(set(texts)) < len(texts):
        texts = [f"{VARIANT}{i + 1}" for i in range(len(runs))]
    return [f"{recipe} ({text})" for text in texts]


def _when(steps: FloatArray) -> str:
    periods = {int(step) for step in np.diff(steps, prepend=0)}
    if len(periods) == 1:
        return f"every {periods.pop():,} steps to {steps[-1]:,.0f}"
    return f"at {', '.join(f'{step:,.0f}' for step in steps)} steps"


def _text(value: Any) -> str:
    """A value as text; 10.0 as 10, which JSON on W&B does not tell apart."""
    text = (value or "-") if isinstance(value, str) else json.dumps(value)
    return text.removesuffix(".0")
