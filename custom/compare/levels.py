"""Scores to set a curve beside, and how soon and at what cost a run reaches them."""

from __future__ import annotations

from typing import Any

import numpy as np

from custom.compare.columns import Column
from custom.compare.measured import Measured
from custom.scores import DQN_ZOO, NATURE, SB3_ZOO, reference


def levels_of(runs: list[Measured]) -> list[dict[str, Any]]:
    """Random play, the best single action, published agents and humans, of the runs' game.

    :param runs: of one game; the first for which baselines were measured here gives them
    :return: name, label, score, source
    """
    known = reference(runs[0].game.rom)
    levels = [
        ("random", "random play", known.random, DQN_ZOO),
        ("best action", "best single action", None, ""),
        ("zoo", "zoo DQN, 40M frames", known.zoo_dqn, SB3_ZOO),
        ("nature", "DQN of 2015, 200M frames", known.dqn_nature, NATURE),
        ("human", "human", known.human, DQN_ZOO),
    ]
    run = next((run for run in runs if run.baselines), None)
    if run is not None and run.baselines is not None:
        best, results = run.baselines["best_action"], run.baselines["results"]
        games = run.baselines["protocol"]["episodes"]
        source = f"measured here, {games} games ({run.recipe})"
        levels[0] = ("random", "random play", results["random"]["mean"], source)
        levels[1] = ("best action", f"only {best}", results[best]["mean"], source)
    return [
        {"name": name, "label": label, "score": float(score), "source": source}
        for name, label, score, source in levels
        if score is not None and np.isfinite(score)
    ]


def reached(column: Column, level: dict[str, Any]) -> dict[str, Any]:
    """When the runs of a column first evaluate at a level.

    :return: for each run frames and seconds, None where it never did; their medians, None where
        half of the runs never did
    """
    frames, seconds = [], []
    for run in column.runs:
        at = np.flatnonzero(run.means >= level["score"])
        first = float(run.frames[at[0]]) if len(at) else None
        frames.append(first)
        # The clock is known at the end alone: a run's steps are taken as equally long.
        known = first is not None and run.seconds is not None
        seconds.append(first / run.budget * run.seconds if known else None)  # type: ignore[operator]
    return {
        "level": level["name"],
        "score": level["score"],
        "frames": frames,
        "seconds": seconds,
        "runs_that_did": sum(value is not None for value in frames),
        "median_frames": _median(frames),
        "median_seconds": _median(seconds),
    }


def clock(column: Column) -> dict[str, Any]:
    """How long the trainings took, evaluations included, and on what."""
    known = [run.seconds for run in column.runs if run.seconds]
    speeds = [run.budget / run.seconds for run in column.runs if run.seconds]
    return {
        "hours": float(np.median(known)) / 3600 if known else None,
        "frames_per_second": float(np.median(speeds)) if speeds else None,
        "hardware": sorted({run.hardware for run in column.runs}),
    }


def _median(values: list[float | None]) -> float | None:
    """Of the runs, counting one that never did as later than all others."""
    median = float(np.median([np.inf if value is None else value for value in values]))
    return None if np.isinf(median) or np.isnan(median) else median
