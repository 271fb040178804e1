"""The whole comparison as plain data: every picture, table and page is drawn from it alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from custom.compare import statistics
from custom.compare.columns import Column, columns_of, differing, shown, why_not
from custom.compare.levels import clock, levels_of, reached
from custom.compare.measured import FloatArray, Measured
from custom.scores import human_normalised

Data = dict[str, Any]
TELL = 5  # pairs, of which each takes a second or more
THRESHOLDS = 81  # of a performance profile


def compare(
    runs: list[Measured],
    left_out: list[str],
    source: str = "logs",
    tell: Callable[[str], None] = lambda text: None,
) -> Data:
    """Compare runs.

    :param left_out: lines on runs that are not among them
    :param tell: takes a line where many pairs take their time
    :return: numbers, texts, lists and dictionaries only, as they are written into compare.json
    """
    columns, notes = columns_of(runs)
    games: dict[str, list[Column]] = {}
    for column in columns:
        games.setdefault(column.first.game.env_id, []).append(column)
    over_games, reasons = _over_games(games) if len(games) > 1 else (None, [])
    return {
        "source": source,
        "games": [_game(env_id, own, tell) for env_id, own in games.items()],
        "over_games": over_games,
        "notes": [*left_out, *notes, *reasons],
    }


def _game(env_id: str, columns: list[Column], tell: Callable[[str], None]) -> Data:
    levels = levels_of([run for column in columns for run in column.runs])
    pairs: list[Data] = []
    remarks = []
    both = list(combinations(columns, 2))
    for number, (x, y) in enumerate(both):
        if number and number % TELL == 0:
            tell(f"{env_id}: pair {number} of {len(both)}")
        reason = why_not(x, y)
        if reason:
            remarks.append(f"{x.label} and {y.label} are not compared: {reason}")
            continue
        found = statistics.pair(x.final[:, None], y.final[:, None])
        pairs.append({"x": x.label, "y": y.label, **found})
        if x.first.hyperparams.get("env_wrapper") != y.first.hyperparams.get("env_wrapper"):
            remarks.append(f"{x.label} and {y.label} play in different wrappers, evaluated too")
    statistics.judge(pairs)
    return {
        "env_id": env_id,
        "levels": levels,
        "columns": [_column(column, levels) for column in columns],
        "pairs": pairs,
        "remarks": remarks,
        "hyperparameters": _hyperparameters(columns),
    }


def _column(column: Column, levels: list[Data]) -> Data:
    run = column.first
    final = statistics.summary(column.final)
    return {
        "label": column.label,
        "recipe": run.recipe,
        "algo": run.algo,
        "budget_frames": run.budget,
        "protocol": run.protocol,
        "seeds": [r.seed for r in column.runs],
        "final_frames": float(run.frames[-1]),
        "final_games": int(run.scores.shape[1] * len(column.runs)),
        **final,
        "human_normalised": human_normalised(run.game.rom, final["iqm"]),
        "curve": {"frames": run.frames.tolist(), **statistics.curve(column.curves)},
        "levels": [reached(column, level) for level in levels],
        "clock": clock(column),
        "runs": [_run(r) for r in column.runs],
    }


def _run(run: Measured) -> Data:
    return {
        "name": run.name,
        "seed": run.seed,
        "seconds": run.seconds,
        "hardware": run.hardware,
        "steps": run.steps.tolist(),
        "mean": run.means.tolist(),
        "std": run.scores.std(axis=1).tolist(),
        "human_normalised": [human_normalised(run.game.rom, mean) for mean in run.means],
        "video": None if run.video is None else str(run.video),
    }


def _hyperparameters(columns: list[Column]) -> list[Data]:
    """Each hyperparameter with its value in each column, those that differ first."""
    values = [shown(column.first) for column in columns]
    different = differing(values)
    rows: list[Data] = [
        {
            "name": name,
            "values": [own.get(name) for own in values],
            "differs": name in different,
        }
        for name in sorted({name for own in values for name in own})
    ]
    return sorted(rows, key=lambda row: not row["differs"])


def _over_games(games: dict[str, list[Column]]) -> tuple[Data | None, list[str]]:
    """Human-normalised scores over the games, and why something is not among them."""
    labels = list(dict.fromkeys(c.label for columns in games.values() for c in columns))
    matrices: dict[str, FloatArray] = {}
    notes, protocols = [], {}
    for label in labels:
        found = [c for columns in games.values() for c in columns if c.label == label]
        scores = [_normalised(c) for c in found]
        if any(column.is_variant for column in found):
            reason = "which variants of its games belong together nobody knows"
        elif len({(c.first.algo, str(c.first.engine)) for c in found}) > 1:
            reason = "its games were trained with different engines"
        elif len(found) < len(games):
            missing = set(games) - {c.first.game.env_id for c in found}
            reason = f"it has no such column in {', '.join(sorted(missing))}"
        elif any(score is None for score in scores):
            reason = "there is no human score of a game"
        elif len({str(c.first.protocol) for c in found}) > 1:
            reason = "its games were evaluated by different protocols"
        else:
            rows = min(len(c.runs) for c in found)
            if rows < max(len(c.runs) for c in found):
                notes.append(f"over games, {label}: the first {rows} seeds of each game count")
            notes += _different_in(label, found)
            matrices[label] = np.stack([s[:rows] for s in scores if s is not None], axis=1)
            protocols[label] = [str(c.first.protocol) + str(c.first.budget) for c in found]
            continue
        notes.append(f"over games, {label}: left out, {reason}")
    return (_aggregates(matrices, protocols, list(games)) if matrices else None), notes


def _different_in(label: str, columns: list[Column]) -> list[str]:
    """A line on hyperparameters that are not the same in every game."""
    found = differing([shown(column.first) for column in columns])
    return [f"over games, {label}: its games differ in {', '.join(found)}"] if found else []


def _aggregates(
    matrices: dict[str, FloatArray], protocols: dict[str, list[str]], games: list[str]
) -> Data:
    highest = max(float(scores.max()) for scores in matrices.values())
    lowest = min(float(scores.min()) for scores in matrices.values())
    thresholds = np.linspace(min(lowest, 0), max(highest, 0.1), THRESHOLDS)
    pairs = [
        {"x": x, "y": y, **statistics.pair(matrices[x], matrices[y])}
        for x, y in combinations(matrices, 2)
        if protocols[x] == protocols[y]
    ]
    statistics.judge(pairs)
    return {
        "games": games,
        "thresholds": thresholds.tolist(),
        "columns": [
            {
                "label": label,
                "runs_a_game": len(scores),
                **statistics.aggregate(scores),
                "profile": statistics.profile(scores, thresholds),
            }
            for label, scores in matrices.items()
        ],
        "pairs": pairs,
    }


def _normalised(column: Column) -> FloatArray | None:
    """(runs,), human-normalised final scores."""
    rom = column.first.game.rom
    scores = [human_normalised(rom, float(score)) for score in column.final]
    known = [score for score in scores if score is not None]
    return np.array(known) if len(known) == len(scores) else None
