"""The whole comparison as plain data, from which every picture, table and page is drawn."""

from itertools import combinations
from typing import Any

import numpy as np

from custom.compare import statistics
from custom.compare.columns import VARIANT, Column, columns_of, differing, settings, table, why_not
from custom.compare.measured import Engine, EvalProtocol, Measured
from custom.evaluation.scores import Level
from custom.runs.metrics import FloatArray

Data = dict[str, Any]
THRESHOLDS = 81  # of a performance profile
SAME_OVER_GAMES = ("algo", *Engine.model_fields, *EvalProtocol.model_fields)


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
    levels = max((run.levels for column in columns for run in column.runs), key=len)
    pairs: list[Data] = []
    remarks = []
    for x, y in combinations(columns, 2):
        if reason := why_not(x, y):
            remarks.append(f"{x.label} and {y.label} are not compared: {reason}")
        else:
            result = statistics.pair(x.final[:, None], y.final[:, None])
            pairs.append({"x": x.label, "y": y.label, **result})
    statistics.judge(pairs)
    values = table([settings(column.first) for column in columns])
    return {
        "env_id": played,
        "levels": [level._asdict() for level in levels],
        "columns": [_column(column, levels) for column in columns],
        "pairs": pairs,
        "remarks": remarks,
        "settings": dict(zip(values.index, values.to_numpy().tolist(), strict=True)),
    }


def _column(column: Column, levels: list[Level]) -> Data:
    run = column.first
    final = statistics.summary(column.final)
    seconds = [r.wall_clock_seconds for r in column.runs if r.wall_clock_seconds is not None]
    hours = [r.core_hours for r in column.runs if r.core_hours is not None]
    return {
        "label": column.label,
        "recipe": run.recipe,
        "algo": run.algo,
        "protocol": run.eval_protocol.model_dump(),
        "seeds": [r.seed for r in column.runs],
        "final_frames": float(run.frames[-1]),
        "final_games": int(run.scores.shape[1] * len(column.runs)),
        **final,
        "human_normalised": run.human_normalised(final["iqm"]),
        "curve": {"frames": run.frames.tolist(), **statistics.curve(column.curves)},
        "levels": [reached(column, level) for level in levels],
        "seconds": float(np.median(seconds)) if seconds else None,
        "core_hours": float(np.median(hours)) if hours else None,
        "machines": sorted({r.machine for r in column.runs}),
        "runs": [_run(r) for r in column.runs],
    }


def _run(run: Measured) -> Data:
    return {
        "name": run.name,
        "seed": run.seed,
        "seconds": run.wall_clock_seconds,
        "steps": run.steps.astype(int).tolist(),
        "frames": run.frames.astype(int).tolist(),
        "mean": run.means.tolist(),
        "std": run.scores.std(axis=1).tolist(),
        "video": None if run.video is None else str(run.video),
    }


def reached(column: Column, level: Level) -> Data:
    """When the runs of a column first evaluate at a level.

    :return: number of runs that do; median over all runs of frames and of seconds, None where half
        of them never do. Only the whole duration is known: all steps count as equally long
    """
    at = [np.flatnonzero(run.means >= level.score) for run in column.runs]
    frames = [
        run.frames[i[0]] if len(i) else np.inf for i, run in zip(at, column.runs, strict=True)
    ]
    seconds = [
        first / run.budget * (run.wall_clock_seconds or np.nan)
        for first, run in zip(frames, column.runs, strict=True)
    ]
    medians = [float(np.median(values)) for values in (frames, seconds)]
    known = [value if np.isfinite(value) else None for value in medians]
    return {
        "runs": int(np.isfinite(frames).sum()),
        "median_frames": known[0],
        "median_seconds": known[1],
    }


def _over_games(games: dict[str, list[Column]]) -> tuple[Data | None, list[str]]:
    """Human-normalised scores over the games, and why something is not among them."""
    joined: dict[str, list[Column]] = {}
    notes = []
    for label in dict.fromkeys(column.label for columns in games.values() for column in columns):
        columns = [
            column for of_game in games.values() for column in of_game if column.label == label
        ]
        different = list(differing([column.first for column in columns]).index)
        if reason := _why_not_joined(columns, different, set(games)):
            notes.append(f"over games, {label}: left out, {reason}")
            continue
        joined[label] = columns
        counts = {len(column.runs) for column in columns}
        if len(counts) > 1:
            notes.append(f"over games, {label}: the first {min(counts)} seeds of each game count")
        if different:
            notes.append(f"over games, {label}: its games differ in {', '.join(different)}")
    return (_aggregates(joined, list(games)) if joined else None), notes


def _why_not_joined(columns: list[Column], different: list[str], env_ids: set[str]) -> str:
    """Why columns of one label are not averaged over games; empty: they are.

    :param different: names of settings that are not the same in all of them
    """
    if missing := env_ids - {column.first.played for column in columns}:
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
    scores = np.concatenate([matrix.ravel() for matrix in matrices.values()])
    thresholds = np.linspace(min(scores.min(), 0), max(scores.max(), 0.1), THRESHOLDS)
    pairs = [
        {"x": x, "y": y, **statistics.pair(matrices[x], matrices[y])}
        for x, y in combinations(matrices, 2)
        if not any(why_not(*both) for both in zip(joined[x], joined[y], strict=True))
    ]
    statistics.judge(pairs)
    return {
        "games": games,
        "thresholds": thresholds.tolist(),
        "columns": [
            {
                "label": label,
                "runs_a_game": len(matrix),
                **statistics.aggregate(matrix),
                "profile": statistics.profile(matrix, thresholds),
            }
            for label, matrix in matrices.items()
        ],
        "pairs": pairs,
    }


def _normalised(columns: list[Column]) -> FloatArray:
    """(runs, games), human-normalised final scores."""
    rows = min(len(column.runs) for column in columns)
    by_game = [list(map(column.first.human_normalised, column.final[:rows])) for column in columns]
    normalised: FloatArray = np.stack([np.array(game, dtype=float) for game in by_game], axis=1)
    return normalised
