"""The whole comparison as plain data, from which every picture, table and page is drawn."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from typing import Any

import numpy as np

from custom.compare import statistics
from custom.compare.columns import (
    VARIANT,
    Column,
    columns_of,
    differing,
    settings_table,
    why_not,
)
from custom.compare.levels import clock, levels_of, reached
from custom.compare.measured import ENGINE, PROTOCOL, Measured
from custom.runs.metrics import FloatArray

Data = dict[str, Any]
THRESHOLDS = 81  # of a performance profile
SAME_OVER_GAMES = ("algo", *ENGINE, *PROTOCOL)


def compare(runs: list[Measured], left_out: list[str]) -> Data:
    """Compare runs.

    :param left_out: one line for each run that is not among them
    :return: numbers, texts, lists and dictionaries only, as they are written into compare.json
    """
    columns, notes = columns_of(runs)
    games: dict[str, list[Column]] = {}
    for column in columns:
        games.setdefault(column.first.played, []).append(column)
    over_games, reasons = _over_games(games) if len(games) > 1 else (None, [])
    return {
        "games": [_game(played, of_game) for played, of_game in games.items()],
        "over_games": over_games,
        "notes": [*left_out, *notes, *reasons],
    }


def _game(played: str, columns: list[Column]) -> Data:
    levels = levels_of([run for column in columns for run in column.runs])
    pairs: list[Data] = []
    remarks = []
    for x, y in combinations(columns, 2):
        reason = why_not(x, y)
        if reason:
            remarks.append(f"{x.label} and {y.label} are not compared: {reason}")
            continue
        result = statistics.pair(x.final[:, None], y.final[:, None])
        pairs.append({"x": x.label, "y": y.label, **result})
        if x.first.hyperparams.get("env_wrapper") != y.first.hyperparams.get("env_wrapper"):
            remarks.append(f"{x.label} and {y.label} are evaluated in different wrappers")
    statistics.judge(pairs)
    rows = settings_table([column.first for column in columns])
    return {
        "env_id": played,
        "levels": levels,
        "columns": [_column(column, levels) for column in columns],
        "pairs": pairs,
        "remarks": remarks,
        "settings": [
            {"name": name, "values": values, "differs": len(set(values)) > 1}
            for name, values in rows.items()
        ],
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
        "human_normalised": run.human_normalised(final["iqm"]),
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
        "steps": run.steps.tolist(),
        "mean": run.means.tolist(),
        "std": run.scores.std(axis=1).tolist(),
        "human_normalised": [run.human_normalised(mean) for mean in run.means],
        "video": None if run.video is None else str(run.video),
    }


def _over_games(games: dict[str, list[Column]]) -> tuple[Data | None, list[str]]:
    """Human-normalised scores over the games, and why something is not among them."""
    by_label: dict[str, list[Column]] = {}
    for column in (column for columns in games.values() for column in columns):
        by_label.setdefault(column.label, []).append(column)
    joined: dict[str, list[Column]] = {}
    notes = []
    for label, columns in by_label.items():
        different = differing([column.first for column in columns])
        reason = _why_not_joined(columns, different, set(games))
        if reason:
            notes.append(f"over games, {label}: left out, {reason}")
            continue
        joined[label] = columns
        counts = {len(column.runs) for column in columns}
        if len(counts) > 1:
            notes.append(f"over games, {label}: the first {min(counts)} seeds of each game count")
        if different:
            notes.append(f"over games, {label}: its games differ in {', '.join(different)}")
    return (_aggregates(joined, list(games)) if joined else None), notes


def _why_not_joined(columns: list[Column], different: Collection[str], env_ids: set[str]) -> str:
    """Why columns of one label are not averaged over games; empty: they are.

    :param different: names of settings that are not the same in all of them
    """
    missing = env_ids - {column.first.played for column in columns}
    if missing:
        return f"it has no such column in {', '.join(sorted(missing))}"
    if VARIANT in columns[0].label:
        return "which variants of its games belong together is unknown"
    if any(column.first.human_normalised(0.0) is None for column in columns):
        return "there is no human score of a game"
    critical = [name for name in SAME_OVER_GAMES if name in different]
    return f"its games differ in {', '.join(critical)}" if critical else ""


def _aggregates(joined: dict[str, list[Column]], games: list[str]) -> Data:
    """Statistics over games, of the same number of runs in each."""
    matrices = {label: _normalised(columns) for label, columns in joined.items()}
    how = {label: [(c.first.protocol, c.first.budget) for c in cs] for label, cs in joined.items()}
    highest = max(float(scores.max()) for scores in matrices.values())
    lowest = min(float(scores.min()) for scores in matrices.values())
    thresholds = np.linspace(min(lowest, 0), max(highest, 0.1), THRESHOLDS)
    pairs = [
        {"x": x, "y": y, **statistics.pair(matrices[x], matrices[y])}
        for x, y in combinations(matrices, 2)
        if how[x] == how[y]
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


def _normalised(columns: list[Column]) -> FloatArray:
    """(runs, games), human-normalised final scores."""
    rows = min(len(column.runs) for column in columns)
    by_game = [
        [column.first.human_normalised(float(score)) for score in column.final[:rows]]
        for column in columns
    ]
    return np.stack([np.array(scores, dtype=float) for scores in by_game], axis=1)
