"""Reference scores of a game, and how soon and at what cost a run reaches them."""

from __future__ import annotations

from typing import Any

import numpy as np

from custom.compare.columns import Column
from custom.compare.measured import Measured
from custom.evaluation.scores import DQN_ZOO, NATURE, SB3_ZOO, Reference, reference


def levels_of(runs: list[Measured]) -> list[dict[str, Any]]:
    """Random play, the best single action, published agents and humans.

    :param runs: of one game; the first with measured baselines gives them
    :return: label, score, source
    """
    rom = runs[0].game.rom
    published = Reference(rom) if runs[0].variant else reference(rom)
    levels = [("random play", published.random, DQN_ZOO)]
    for run in runs:
        if run.baselines is not None:
            best, results = run.baselines["best_action"], run.baselines["results"]
            source = f"measured here, {run.baselines['protocol']['episodes']} games ({run.recipe})"
            names = {"random play": "random", f"only {best}": best}
            levels = [(label, results[name]["mean"], source) for label, name in names.items()]
            break
    levels += [
        ("zoo DQN, 40M frames", published.zoo_dqn, SB3_ZOO),
        ("DQN of 2015, 200M frames", published.dqn_nature, NATURE),
        ("human", published.human, DQN_ZOO),
    ]
    return [
        {"label": label, "score": float(score), "source": source}
        for label, score, source in levels
        if score is not None and np.isfinite(score)
    ]


def reached(column: Column, level: dict[str, Any]) -> dict[str, Any]:
    """When the runs of a column first evaluate at a level.

    :return: frames of each run, None where it never did; median of frames and of seconds over the
        runs, None where half of them never did
    """
    frames: list[float | None] = []
    seconds: list[float | None] = []
    for run in column.runs:
        at = np.flatnonzero(run.means >= level["score"])
        first = float(run.frames[at[0]]) if len(at) else None
        frames.append(first)
        if first is None or run.seconds is None:
            seconds.append(None)
        else:  # only the whole duration is known: all steps count as equally long
            seconds.append(first / run.budget * run.seconds)
    return {
        "level": level["label"],
        "score": level["score"],
        "frames": frames,
        "median_frames": _median(frames),
        "median_seconds": _median(seconds),
    }


def clock(column: Column) -> dict[str, Any]:
    """How long the trainings took, evaluations included, and on what machines."""
    timed = [(run.budget, run.seconds) for run in column.runs if run.seconds]
    speeds = [budget / seconds for budget, seconds in timed]
    core_hours = [run.core_hours for run in column.runs if run.core_hours is not None]
    return {
        "seconds": float(np.median([seconds for _, seconds in timed])) if timed else None,
        "core_hours": float(np.median(core_hours)) if core_hours else None,
        "frames_per_second": float(np.median(speeds)) if timed else None,
        "hardware": sorted({run.made_with.get("machine", "unknown") for run in column.runs}),
    }


def _median(values: list[float | None]) -> float | None:
    """Median over the runs, where one that never reached the level counts as the latest."""
    median = float(np.median([np.inf if value is None else value for value in values]))
    return median if np.isfinite(median) else None
