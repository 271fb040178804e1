"""Intervals, probabilities and profiles by `rliable` (https://arxiv.org/abs/2108.13264).

A matrix of scores is (runs, games). Resampling is stratified: runs are drawn within each game.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from rliable import library, metrics
from scipy.stats import trim_mean

from custom.compare.measured import FloatArray

REPS = 2000  # rliable's own number for profiles
CHANCE = 0.05
DEALS = 10_000  # of a permutation test; more ways than that are drawn from
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
    return {
        **found,
        "p": chance(x, y),
        "smallest_p": 2 / comb(len(x) + len(y), len(x)) ** x.shape[1],
    }


def chance(x: FloatArray, y: FloatArray) -> float | None:
    """Probability of a difference of means as large as this one where there is none.

    A permutation test: in each game every way to deal the runs to the two is as likely. Unlike a
    bootstrap it keeps its error rate with few runs. Exact for one game with up to `DEALS` ways.

    :param x: (runs, games)
    :param y: (other runs, the same games)
    :return: two-sided; None where one of them is a single run
    """
    if min(len(x), len(y)) == 1:
        return None
    pooled, n = np.concatenate([x, y]), len(x)
    if x.shape[1] == 1 and comb(len(pooled), n) <= DEALS:
        deals = np.array([pooled[list(d)].sum() for d in combinations(range(len(pooled)), n)])
        means = deals / n - (pooled.sum() - deals) / len(y)
        extra = 0
    else:
        rng = np.random.default_rng(0)
        dealt = (rng.permuted(pooled, axis=0) for _ in range(DEALS))
        means = np.array([deal[:n].mean() - deal[n:].mean() for deal in dealt])
        extra = 1  # the deal that was seen
    seen = abs(x.mean() - y.mean())
    as_large = np.abs(means) >= seen - 1e-9 * max(seen, 1.0)
    return float((as_large.sum() + extra) / (len(means) + extra))


def judge(pairs: list[dict[str, Any]]) -> None:
    """Give each pair of a table its verdict: ``better``, ``worse``, or why neither can be said.

    Among many pairs some are apart by chance, so p is adjusted for their number (Holm 1979).

    :param pairs: as `pair` makes them; each gets `p_adjusted` and `verdict`
    """
    known = sorted((found for found in pairs if found["p"] is not None), key=lambda one: one["p"])
    highest = 0.0
    for place, found in enumerate(known):
        highest = max(highest, min((len(known) - place) * found["p"], 1.0))
        found["p_adjusted"] = highest
    for found in pairs:
        found.setdefault("p_adjusted", None)
        found["verdict"] = _verdict(found, len(known))


def _verdict(found: dict[str, Any], n_pairs: int) -> str:
    if found["p"] is None:
        return "one seed: nothing can be said about seeds"
    if found["smallest_p"] > CHANCE:
        share = found["smallest_p"] * 100
        return f"too few seeds: chance alone separates {share:.0f} %"
    low, high = found["difference_95"]
    if found["p"] > CHANCE or low <= 0 <= high:
        return "within noise"
    if found["p_adjusted"] > CHANCE:
        return f"apart by itself, not among {n_pairs} pairs"
    return "better" if low > 0 else "worse"


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
