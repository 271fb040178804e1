"""Intervals, probabilities and profiles by `rliable` (https://arxiv.org/abs/2108.13264).

A matrix of scores is (runs, games). Resampling is stratified: runs are drawn within each game.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from math import comb
from typing import Any

import numpy as np
from rliable import library, metrics
from scipy.stats import trim_mean

from custom.compare.measured import FloatArray

REPS = 2000  # rliable's own number for profiles
CHANCE = 0.05
Interval = list[float] | None


@contextlib.contextmanager
def fixed_seed(seed: int = 0) -> Iterator[None]:
    """The same intervals each time: rliable draws from NumPy's global generator."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def estimate(func: Any, *scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A statistic and its 95 % interval.

    :param func: of as many matrices as are given; returns a vector
    :param scores: one matrix, or several that are resampled each by itself
    :return: (K,), and (2, K)
    """
    given = {"": scores[0] if len(scores) == 1 else list(scores)}
    with fixed_seed():
        points, intervals = library.get_interval_estimates(given, func, reps=REPS)
    return np.asarray(points[""]), np.asarray(intervals[""])


def curve(curves: FloatArray) -> dict[str, Any]:
    """Interquartile mean over the runs at each evaluation; no band around a single run.

    :param curves: (runs, N)
    """

    def iqm(scores: FloatArray) -> FloatArray:
        flat = scores.reshape(len(scores), -1)
        return np.asarray(trim_mean(flat, proportiontocut=0.25, axis=0))  # aggregate_iqm of each

    if len(curves) == 1:
        return {"iqm": curves[0].tolist(), "low": None, "high": None}
    points, (low, high) = estimate(iqm, curves[:, None, :])
    return {"iqm": points.tolist(), "low": low.tolist(), "high": high.tolist()}


def summary(scores: FloatArray) -> dict[str, Any]:
    """Mean, median and IQM over the runs of one game, with their intervals.

    :param scores: (runs,)
    """

    def three(s: FloatArray) -> FloatArray:
        return np.array([metrics.aggregate_mean(s), np.median(s), metrics.aggregate_iqm(s)])

    return _named(("mean", "median", "iqm"), three, scores[:, None])


def aggregate(scores: FloatArray) -> dict[str, Any]:
    """Over games, of human-normalised scores: mean, median, IQM and optimality gap.

    :param scores: (runs, games)
    """
    names = ("mean", "median", "iqm", "optimality_gap")

    def all_of(s: FloatArray) -> FloatArray:
        return np.array([getattr(metrics, f"aggregate_{name}")(s) for name in names])

    return _named(names, all_of, scores)


def profile(scores: FloatArray, thresholds: FloatArray) -> dict[str, Any]:
    """Share of the runs above each threshold, with its interval where there are several runs."""
    with fixed_seed():
        points, bands = library.create_performance_profile({"": scores}, thresholds, reps=REPS)
    low, high = bands[""] if len(scores) > 1 else (None, None)
    return {
        "share": points[""].tolist(),
        "low": None if low is None else low.tolist(),
        "high": None if high is None else high.tolist(),
    }


def pair(x: FloatArray, y: FloatArray) -> dict[str, Any]:
    """How much better x is than y, how probably a run of x beats one of y, and what that means.

    :param x: (runs, games)
    :param y: (other runs, the same games)
    """

    def both(a: FloatArray, b: FloatArray) -> FloatArray:
        gain = metrics.aggregate_mean(a) - metrics.aggregate_mean(b)
        return np.array([gain, metrics.probability_of_improvement(a, b)])

    found = _named(("difference", "probability"), both, x, y)
    return {**found, "verdict": verdict(found, len(x), len(y), x.shape[1])}


def verdict(found: dict[str, Any], n_x: int, n_y: int, games: int = 1) -> str:
    """``better``, ``worse``, or why neither can be said.

    With few seeds a bootstrap is too sure of itself: two runs that are both above two others make
    an interval without zero, which chance alone brings in one of three cases.

    :param found: difference and probability with their intervals
    :param n_x: runs of the one, `n_y` of the other, in each of so many games
    """
    if min(n_x, n_y) == 1:
        return "one seed: nothing can be said about seeds"
    chance = 2 / comb(n_x + n_y, n_x) ** games  # of no overlap in any game, either way round
    if chance > CHANCE:
        return f"too few seeds: chance alone separates {chance * 100:.0f} % of such pairs"
    low, high = found["difference_95"]
    p_low, p_high = found["probability_95"]
    if low > 0 and p_low > 0.5:
        return "better"
    if high < 0 and p_high < 0.5:
        return "worse"
    return "within noise"


def _named(names: tuple[str, ...], func: Any, *scores: FloatArray) -> dict[str, Any]:
    """Each statistic by its name, and its interval, None where there is a single run."""
    several = min(map(len, scores)) > 1
    points, intervals = estimate(func, *scores) if several else (func(*scores), None)
    found: dict[str, Any] = {}
    for i, name in enumerate(names):
        found[name] = float(points[i])
        interval: Interval = None if intervals is None else intervals[:, i].tolist()
        found[f"{name}_95"] = interval
    return found
