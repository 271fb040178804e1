"""Which runs go into one column: those that differ in nothing but their seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from custom.compare.measured import FloatArray, Measured

Traits = dict[str, str]
WORDS = {
    "epsilon": "epsilon {}",
    "episodes": "{}-game evaluations",
    "noop_max": "up to {} no-ops",
    "repeat_action_probability": "sticky actions {}",
    "max_frames": "games of up to {} frames",
}
SHORT = 40  # letters
SAME_END = 0.01  # of the budget: last evaluations so close are of one age


@dataclass(frozen=True, eq=False)
class Column:
    """Runs of one game that differ in their seed alone, in its order.

    :param label: the recipe, and whatever sets it apart from other columns
    :param is_variant: its label does not say in what it differs from others of its recipe
    """

    label: str
    runs: tuple[Measured, ...]
    is_variant: bool = False

    @property
    def first(self) -> Measured:
        """One of the runs: in all but seed and scores it is as the others."""
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

    :return: columns, and lines on what was kept apart or left out
    """
    groups: dict[str, list[Measured]] = {}
    for run in runs:
        groups.setdefault(json.dumps([run.game.env_id, traits(run)]), []).append(run)
    columns, notes = [], []
    for group in groups.values():
        kept, doubles = _one_per_seed(group)
        game = [g[0] for g in groups.values() if g[0].game == group[0].game]
        label, is_variant = _label(group[0], game)
        columns.append(Column(label, tuple(kept), is_variant))
        notes += doubles + _made_differently(columns[-1])
    return columns, notes + _split(columns)


def traits(run: Measured) -> Traits:
    """All that has to be the same within a column, in words."""
    return {
        "recipe": run.recipe,
        "algo": run.algo,
        "budget": _frames(run.budget),
        "engine": ", ".join(f"{name} {value}" for name, value in run.engine.items()),
        **{name: WORDS[name].format(f"{value:g}") for name, value in run.protocol.items()},
        "frames a step": f"{run.frame_skip} frames a step",
        "evaluations": _evaluated(run.steps),
        "hyperparams": json.dumps(_values_of(run), sort_keys=True, default=str),
    }


def _evaluated(steps: FloatArray) -> str:
    every = {int(step) for step in np.diff(steps, prepend=0)}
    if len(every) == 1:
        return f"evaluated {len(steps)} times, every {every.pop():,} steps"
    return f"evaluated at {', '.join(f'{step:,.0f}' for step in steps)} steps"


def why_not(x: Column, y: Column) -> str:
    """Why the scores of two columns of a game are not compared; empty: they are."""
    a, b = traits(x.first), traits(y.first)
    names = ["budget", *WORDS]
    different = [f"{a[name]} beside {b[name]}" for name in names if a[name] != b[name]]
    ends = x.first.frames[-1], y.first.frames[-1]
    if not different and abs(ends[0] - ends[1]) > SAME_END * x.first.budget:
        different = [f"last evaluated after {_frames(ends[0])} beside {_frames(ends[1])}"]
    return ", ".join(different)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Hyperparameters with dotted names, as text."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + str(name)] = value if isinstance(value, str) else json.dumps(value)
    return found


def plain(value: Any) -> Any:
    """A value of a recipe without what JSON may lose on its way: 10.0 is 10."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shown(run: Measured) -> dict[str, str]:
    """A run's hyperparameters as `flat` gives them."""
    return flat(plain(run.hyperparams))


def differing(values: list[dict[str, str]]) -> list[str]:
    """Names whose values are not the same in all of these."""
    names = sorted({name for own in values for name in own})
    return [name for name in names if len({own.get(name) for own in values}) > 1]


def _values_of(run: Measured) -> dict[str, Any]:
    """Hyperparameters but for the budget, which is a trait of its own."""
    values: dict[str, Any] = plain(run.hyperparams)
    return {name: value for name, value in values.items() if name != "n_timesteps"}


def _frames(frames: float) -> str:
    return f"{frames / 1e6:g}M frames"


def _one_per_seed(group: list[Measured]) -> tuple[list[Measured], list[str]]:
    """The latest run of each seed: a seed twice is no second measurement."""
    latest = {run.seed: run for run in group}
    notes = [
        f"{run.name}: left out, {latest[run.seed].name} has the same seed {run.seed}"
        for run in group
        if latest[run.seed] is not run
    ]
    return [latest[seed] for seed in sorted(latest)], notes


def _label(run: Measured, others: list[Measured]) -> tuple[str, bool]:
    """The recipe, and in what a column differs from those of its game; whether it is a variant."""
    own = traits(run)
    seen = [traits(other) for other in others]
    same_recipe = [t for t in seen if t["recipe"] == own["recipe"]]
    parts = [
        own[name]
        for name in own
        if own[name]
        and name not in ("recipe", "algo", "hyperparams", "evaluations")
        and len({t[name] for t in seen}) > 1
    ]
    if len({t["evaluations"] for t in same_recipe}) > 1:
        parts.append(own["evaluations"])
    variants = list(dict.fromkeys((t["algo"], t["hyperparams"]) for t in same_recipe))
    if len(variants) > 1:
        number = variants.index((own["algo"], own["hyperparams"])) + 1
        parts.append(_variant(number, run, [o for o in others if o.recipe == run.recipe]))
    label = f"{run.recipe} ({', '.join(parts)})" if parts else run.recipe
    return label, bool(parts) and parts[-1].startswith("variant ")


def _variant(number: int, run: Measured, others: list[Measured]) -> str:
    """What is different in a run's hyperparameters, where that can be said in a word or two."""
    own = flat(_values_of(run))
    different = differing([flat(_values_of(other)) for other in others])
    said = ", ".join(f"{name} {own.get(name, 'default')}" for name in different)
    return said if 0 < len(said) <= SHORT else f"variant {number}"


def _made_differently(column: Column) -> list[str]:
    """A line where runs of a column come from different code or machines."""
    names = dict.fromkeys(name for run in column.runs for name in run.made_with)
    found = {name: {run.made_with.get(name) for run in column.runs} for name in names}
    different = [name for name, values in found.items() if len(values) > 1]
    if not different:
        return []
    return [f"{column.first.game.env_id}, {column.label}: runs of different {', '.join(different)}"]


def _split(columns: list[Column]) -> list[str]:
    """A line for each recipe whose runs fill several columns."""
    notes = []
    by_recipe: dict[tuple[str, str], list[str]] = {}
    for column in columns:
        key = column.first.game.env_id, column.first.recipe
        by_recipe.setdefault(key, []).append(column.label)
    for (env_id, recipe), labels in by_recipe.items():
        if len(labels) > 1:
            notes.append(f"{env_id}, {recipe}: kept apart are {'; '.join(labels)}")
    return notes
