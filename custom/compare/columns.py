"""Which runs go into one column: those that differ in nothing but their seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from custom.compare.measured import PROTOCOL, Measured
from custom.runs.metrics import FloatArray

COMPARABLE = ("budget", *PROTOCOL)  # settings that must be equal for scores to be compared
SAME_END = 0.01  # of the budget, between last evaluations that are compared
LONGEST = 60  # letters of a label's settings
Value = TypeVar("Value")
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
            kept, doubles = _one_per_seed(group)
            columns.append(Column(label, tuple(kept)))
            notes += doubles
            origins = _unequal(_table([run.made_with for run in kept]))
            if origins:
                notes.append(f"{played}, {label}: runs of different {', '.join(origins)}")
    return columns, notes


def settings(run: Measured) -> dict[str, str]:
    """All that is the same within a column, as text; hyperparameters with dotted names."""
    values = {name: value for name, value in run.hyperparams.items() if name != "n_timesteps"}
    return {
        "algo": run.algo,
        "budget": f"{run.budget / 1e6:g}M frames",
        **{name: f"{value:g}" for name, value in run.protocol.items()},
        **run.engine,
        "frame_skip": str(run.frame_skip),
        "evaluated": _when(run.steps),
        **_flat(values),
    }


def settings_table(runs: Sequence[Measured]) -> dict[str, list[str]]:
    """Each setting of any of the runs with its value in all of them."""
    return {
        name: [value or "-" for value in values]
        for name, values in _table([settings(run) for run in runs]).items()
    }


def differing(runs: Sequence[Measured]) -> dict[str, list[str]]:
    """Those of `settings_table` that are not the same in all runs."""
    return _unequal(settings_table(runs))


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
    rows = differing(runs).items()
    texts = [", ".join(f"{name} {values[i]}" for name, values in rows) for i in range(len(runs))]
    if max(map(len, texts)) > LONGEST or len(set(texts)) < len(texts):
        texts = [f"{VARIANT}{i + 1}" for i in range(len(runs))]
    return [f"{recipe} ({text})" for text in texts]


def _one_per_seed(group: list[Measured]) -> tuple[list[Measured], list[str]]:
    """The latest run of each seed: the same seed again is no independent measurement."""
    latest = {run.seed: run for run in group}
    notes = [
        f"{run.name}: left out, {latest[run.seed].name} has the same seed {run.seed}"
        for run in group
        if latest[run.seed] is not run
    ]
    return [latest[seed] for seed in sorted(latest)], notes


def _table(rows: list[dict[str, str]]) -> dict[str, list[str | None]]:
    """Each key of any row with its values in all of them."""
    names = sorted({name for row in rows for name in row})
    return {name: [row.get(name) for row in rows] for name in names}


def _unequal(table: dict[str, list[Value]]) -> dict[str, list[Value]]:
    return {name: values for name, values in table.items() if len(set(values)) > 1}


def _when(steps: FloatArray) -> str:
    periods = {int(step) for step in np.diff(steps, prepend=0)}
    if len(periods) == 1:
        return f"every {periods.pop():,} steps to {steps[-1]:,.0f}"
    return f"at {', '.join(f'{step:,.0f}' for step in steps)} steps"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = _text(value)
    return flat


def _text(value: Any) -> str:
    """A value as text; 10.0 as 10, which JSON on W&B does not tell apart."""
    if isinstance(value, type):
        return f"{value.__module__}.{value.__name__}"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_text(one)}' for name, one in value.items())}}}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, default=str)
