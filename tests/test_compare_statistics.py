"""The statistics of a comparison, on scores whose results are known."""

import numpy as np
import pytest
from rliable import library, metrics
from scipy.stats import permutation_test

from custom.compare import statistics
from tests.conftest import Patch

REPS = statistics.REPS  # before conftest.py takes fewer
LOW = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
HIGH = LOW + 10


@pytest.fixture(autouse=True)
def _all_of_them(monkeypatch: Patch) -> None:
    monkeypatch.setattr(statistics, "REPS", REPS)


def judged(x: np.ndarray, y: np.ndarray) -> dict:
    found = statistics.pair(x.reshape(len(x), -1), y.reshape(len(y), -1))
    statistics.judge([found])
    return found


def made_up(p: float) -> dict:
    return {"p": p, "smallest_p": 0.0001, "seeds": [5, 5], "difference_95": [1.0, 2.0]}


def test_mean_median_and_interquartile_mean_are_those_by_hand_and_of_rliable() -> None:
    found = statistics.summary(np.array([0.0, 1.0, 2.0, 5.0, 6.0, 7.0, 9.0, 30.0]))
    assert found["mean"] == 7.5
    assert found["median"] == 5.5
    assert found["iqm"] == 5.0  # of 2, 5, 6, 7
    curves = np.random.default_rng(0).normal(size=(5, 7))
    found = statistics.curve(curves)
    expected = [metrics.aggregate_iqm(curves[:, i]) for i in range(7)]
    np.testing.assert_allclose(found["iqm"], expected)
    assert all(a <= b <= c for a, b, c in zip(*map(found.get, ("low", "iqm", "high")), strict=True))


def test_an_interval_is_that_of_rliable_the_same_each_time() -> None:
    scores = np.array([[1.0], [4.0], [2.0], [9.0]])
    found = statistics.summary(scores[:, 0])
    with statistics.fixed_seed():
        _, expected = library.get_interval_estimates(
            {"x": scores}, lambda s: np.array([metrics.aggregate_iqm(s)]), reps=statistics.REPS
        )
    assert found["iqm_95"] == expected["x"][:, 0].tolist()
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    first = statistics.summary(LOW)
    assert np.random.random() == expected
    assert statistics.summary(LOW) == first


def test_a_single_run_says_nothing_about_others() -> None:
    found = statistics.curve(np.array([[1.0, 2.0]]))
    assert found == {"iqm": [1.0, 2.0], "low": None, "high": None}
    assert statistics.summary(np.array([3.0]))["iqm_95"] is None
    found = judged(LOW[:1], HIGH)
    assert found["verdict"] == "a single seed says nothing about other seeds"
    assert found["difference_95"] is None
    assert found["probability_95"] is None


def test_the_probability_of_improvement_counts_pairs_and_runs_far_apart_are_better() -> None:
    x, y = np.array([[1.0], [3.0], [5.0]]), np.array([[3.0], [0.0]])
    # Of the six pairs 1 > 0, 3 > 0, 5 > 3 and 5 > 0; 3 = 3 is half a pair.
    assert statistics.pair(x, y)["probability"] == pytest.approx(4.5 / 6)
    assert statistics.pair(x, y)["difference"] == pytest.approx(1.5)
    assert judged(HIGH, LOW)["verdict"] == "better"
    assert judged(LOW, HIGH)["verdict"] == "worse"
    assert judged(HIGH, LOW)["p"] == pytest.approx(2 / 252)  # 2 of comb(10, 5)


@pytest.mark.parametrize(("n", "percent"), [(2, "33 %"), (3, "10 %")])
def test_few_seeds_are_too_few_however_far_they_are_apart(n: int, percent: str) -> None:
    # 2 of comb(4, 2) = 6 orders have no overlap, 2 of comb(6, 3) = 20.
    found = judged(HIGH[:n], LOW[:n])
    assert found["difference_95"][0] > 0
    said = f"with {n} seeds each, two equal recipes look this different in {percent} of cases"
    assert found["verdict"] == said
    assert judged(HIGH[:4], LOW[:3])["verdict"] == "better"  # 1 of 35: no other is as far apart


def test_few_seeds_that_overlap_are_within_noise_unless_there_are_more_games() -> None:
    found = judged(np.array([1.0, 3.0]), np.array([2.0, 4.0]))  # as far apart in 4 of 6 orders
    assert "in 67 % of cases" in found["verdict"]
    x, y = np.array([[8.0] * 3, [9.0] * 3]), np.array([[1.0] * 3, [2.0] * 3])
    assert judged(x, y)["verdict"] == "better"  # 2 / 6³
    found = judged(np.array([5.0, 6.0, 7.0, 8.0]), np.array([2.0, 3.0, 4.0, 6.5]))
    assert found["difference_95"][0] > 0  # a bootstrap alone would call it real
    assert found["verdict"] == "within noise"


def test_chance_is_what_scipys_permutation_test_says_within_each_game() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=4), rng.normal(size=6) + 0.8
    expected = permutation_test(
        (x, y),
        lambda a, b: abs(a.mean() - b.mean()),
        n_resamples=10**6,
        vectorized=False,
        alternative="greater",
    )
    assert statistics.permutation_p(x[:, None], y[:, None]) == pytest.approx(expected.pvalue)
    # With two runs of each, 2 of 6 deals of a game are as they were or turned: of two games 2 / 36.
    x, y = np.array([[9.0, 900.0], [8.0, 800.0]]), np.array([[1.0, 100.0], [2.0, 200.0]])
    assert statistics.permutation_p(x, y) == pytest.approx(2 / 36, abs=0.01)


@pytest.mark.parametrize(("n_x", "n_y"), [(4, 4), (5, 5), (2, 10), (3, 5)])
def test_no_difference_is_found_where_there_is_none(n_x: int, n_y: int) -> None:
    rng = np.random.default_rng(0)
    runs = rng.normal(size=(400, n_x + n_y, 1))
    found = [statistics.permutation_p(both[:n_x], both[n_x:]) for both in runs]
    assert np.mean([p is not None and p <= 0.05 for p in found]) < 0.08  # 3 sigma above 0.05


def test_over_games_medians_and_profiles_count_and_p_is_adjusted_for_pairs() -> None:
    scores = np.array([[0.0, 1.0, 8.0], [2.0, 3.0, 10.0]])
    found = statistics.aggregate(scores)
    assert (found["mean"], found["median"]) == (4.0, 2.0)
    assert found["optimality_gap"] == pytest.approx(1 - 5 / 6)  # of 0, 1, 1, 1, 1, 1
    scores = np.array([[0.0, 1.0], [2.0, 3.0]])
    found = statistics.profile(scores, np.array([-1.0, 0.0, 1.5, 3.0]))
    assert found["share"] == [1.0, 0.75, 0.5, 0.0]
    assert found["low"][2] <= 0.5 <= found["high"][2]
    assert statistics.profile(scores[:1], np.array([0.5]))["low"] is None
    pairs = [made_up(p) for p in (0.02, 0.001, 0.04)]
    statistics.judge(pairs)
    assert [pair["p_adjusted"] for pair in pairs] == pytest.approx([0.04, 0.003, 0.04])
    pairs = [made_up(p) for p in (0.03, 0.03)]
    statistics.judge(pairs)
    assert [pair["verdict"] for pair in pairs] == ["significant by itself, not among 2 pairs"] * 2
