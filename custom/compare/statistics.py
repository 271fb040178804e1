"""Intervals, probabilities and profiles by `rliable` (https://arxiv.org/abs/2108.13264).

A matrix of scores is (runs, games). Resampling is stratified: runs are drawn within each game.
"""

import contextlib
from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from rliable import library, metrics
from scipy.stats import trim_mean

from custom.runs.metrics import FloatArray

REPS = 2000  # bootstrap samples; rliable's default for profiles
ALPHA = 0.05
PERMUTATIONS = 10_000  # all of them up to this number, else so many drawn at random


@contextlib.contextmanager
def fixed_seed(seed: int = 0) -> Iterator[None]:
    """Seed NumPy's global generator, from which rliable draws, and restore it afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)


def estimate(func: Any, *scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A statistic and its 95 % interval.

    :param func: of as many matrices as are given; returns a vector
    :param scores: one matrix, or several that are resampled independently
    :return: (K,), and (2, K)
    """
    data = {"": scores[0] if len(scores) == 1 else list(scores)}
    with fixed_seed():
        points, intervals = library.get_interval_estimates(data, func, reps=REPS)
    return np.asarray(points[""]), np.asarray(intervals[""])


def curve(curves: FloatArray) -> dict[str, Any]:
    """Interquartile mean over the runs at each evaluation; a single run has no band.

    :param curves: (runs, N)
    """

    def iqm(scores: FloatArray) -> FloatArray:
        flat = scores.reshape(len(scores), -1)
        return np.asarray(trim_mean(flat, proportiontocut=0.25, axis=0))  # as aggregate_iqm

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
    low, high = bands[""].tolist() if len(scores) > 1 else (None, None)
    return {"share": points[""].tolist(), "low": low, "high": high}


def pair(x: FloatArray, y: FloatArray) -> dict[str, Any]:
    """Difference of means, probability that a run of x beats a run of y, and p of the difference.

    :param x: (runs, games)
    :param y: (other runs, the same games)
    """

    def both(a: FloatArray, b: FloatArray) -> FloatArray:
        gain = metrics.aggregate_mean(a) - metrics.aggregate_mean(b)
        return np.array([gain, metrics.probability_of_improvement(a, b)])

    return {
        **_named(("difference", "probability"), both, x, y),
        "seeds": [len(x), len(y)],
        "p": permutation_p(x, y),
        "smallest_p": (1 + (len(x) == len(y))) / comb(len(x) + len(y), len(x)) ** x.shape[1],
    }


def permutation_p(x: FloatArray, y: FloatArray) -> float | None:
    """Probability of a difference of means at least this large if x and y are equally good.

    A permutation test: within each game all assignments of the runs to x and y are equally likely.
    Unlike a bootstrap it keeps its error rate with few runs. Exact for one game with at most
    `PERMUTATIONS` assignments.

    :param x: (runs, games)
    :param y: (other runs, the same games)
    :return: two-sided; None where one of them is a single run
    """
    if min(len(x), len(y)) == 1:
        return None
    pooled, n = np.concatenate([x, y]), len(x)
    if x.shape[1] == 1 and comb(len(pooled), n) <= PERMUTATIONS:
        sums = np.array([pooled[list(c)].sum() for c in combinations(range(len(pooled)), n)])
        differences = sums / n - (pooled.sum() - sums) / len(y)
        observed = 0  # it is one of the combinations
    else:
        rng = np.random.default_rng(0)
        shuffled = (rng.permuted(pooled, axis=0) for _ in range(PERMUTATIONS))
        differences = np.array([runs[:n].mean() - runs[n:].mean() for runs in shuffled])
        observed = 1
    difference = abs(x.mean() - y.mean())
    as_large = np.abs(differences) >= difference - 1e-9 * max(difference, 1.0)
    return float((as_large.sum() + observed) / (len(differences) + observed))


def judge(pairs: list[dict[str, Any]]) -> None:
    """Give each pair of a table its verdict: ``better``, ``worse``, or why neither can be said.

    With many pairs some differ by chance, so p is adjusted for their number (Holm 1979).

    :param pairs: results of `pair`; each gets `p_adjusted` and `verdict`
    """
    tested = sorted((one for one in pairs if one["p"] is not None), key=lambda one: one["p"])
    highest = 0.0
    for place, one in enumerate(tested):
        highest = max(highest, min((len(tested) - place) * one["p"], 1.0))
        one["p_adjusted"] = highest
    for one in pairs:
        one.setdefault("p_adjusted", None)
        one["verdict"] = _verdict(one, len(tested))


def _verdict(one: dict[str, Any], n_pairs: int) -> str:
    if one["p"] is None:
        return "a single seed says nothing about other seeds"
    if one["smallest_p"] > ALPHA:
        n, m = one["seeds"]
        seeds = f"{n} seeds each" if n == m else f"{n} and {m} seeds"
        share = f"{max(one['p'], one['smallest_p']) * 100:.0f} %"
        return f"with {seeds}, two equal recipes look this different in {share} of cases"
    low, high = one["difference_95"]
    if one["p"] > ALPHA or low <= 0 <= high:
        return "within noise"
    if one["p_adjusted"] > ALPHA:
        return f"significant by itself, not among {n_pairs} pairs"
    return "better" if low > 0 else "worse"


def _named(names: tuple[str, ...], func: Any, *scores: FloatArray) -> dict[str, Any]:
    """Each statistic by its name, and its interval, which is None for a single run."""
    several = min(map(len, scores)) > 1
    points, intervals = estimate(func, *scores) if several else (func(*scores), None)
    named: dict[str, Any] = {}
    for i, name in enumerate(names):
        named[name] = float(points[i])
        named[f"{name}_95"] = None if intervals is None else intervals[:, i].tolist()
    return named
