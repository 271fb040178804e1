"""Prioritized replay: its tree against brute force, its draws and weights on real play."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from custom.replay.files import load_steps, save_steps
from custom.replay.prioritized import PrioritizedFrameReplayBuffer, SumTree
from tests.conftest import SMALL
from tests.test_buffers import fill, recorded

CPU = th.device("cpu")
SPACES = (spaces.Box(0, 255, (4, 36, 36), np.uint8), spaces.Discrete(4))
CHI_SQUARED_999 = 148.2  # 0.999 quantile for 99 degrees of freedom


def chi_squared(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def test_leaves_are_drawn_and_summed_as_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    priorities = rng.random(100) ** 3 + 0.01
    tree = SumTree(100, CPU)
    tree.set(th.arange(100), th.as_tensor(priorities))
    shares = rng.random(200_000)
    drawn = tree.draw(th.as_tensor(shares)).numpy()
    brute_force = np.searchsorted(np.cumsum(priorities) / priorities.sum(), shares, side="right")
    assert (drawn == brute_force).mean() > 0.9999  # but for sums that are rounded otherwise
    expected = priorities / priorities.sum() * len(shares)
    assert chi_squared(np.bincount(drawn, minlength=100), expected) < CHI_SQUARED_999
    rng = np.random.default_rng(1)
    tree, plain = SumTree(37, CPU), np.zeros(37)
    for _ in range(200):
        leaves, values = rng.choice(37, 8, replace=False), rng.random(8)
        tree.set(th.as_tensor(leaves), th.as_tensor(values))
        plain[leaves] = values
    assert np.array_equal(tree.get(th.arange(37)).numpy(), plain)
    assert tree.total.item() == pytest.approx(plain.sum())
    assert th.equal(tree.nodes[1:64], tree.nodes[2::2] + tree.nodes[3::2])


def test_no_priority_is_never_drawn_and_a_leaf_may_be_set_twice() -> None:
    tree = SumTree(11, CPU)
    tree.set(th.tensor([3, 7]), th.tensor([1e-9, 5.0]))
    ends = th.tensor([0.0, 0.5, np.nextafter(1.0, 0.0)], dtype=th.float64)
    assert set(tree.draw(ends).tolist()) <= {3, 7}
    tree = SumTree(4, CPU)
    tree.set(th.tensor([1, 1, 2]), th.tensor([3.0, 3.0, 1.0]))
    assert tree.total.item() == 4.0


def played(n_envs: int, steps: int, **settings: Any) -> PrioritizedFrameReplayBuffer:
    size = settings.pop("buffer_size", 400)
    buffer = PrioritizedFrameReplayBuffer(size, *SPACES, device="cpu", n_envs=n_envs, **settings)
    fill(recorded("Breakout", steps, n_envs, SMALL["env_wrapper"]), buffer)
    return buffer


@pytest.mark.parametrize("steps", [120, 260])  # not full, and after it went round
def test_new_transitions_have_the_largest_priority(steps: int) -> None:
    buffer = played(2, steps)
    buffer.draw(4)
    held = min(steps, buffer.buffer_size) * 2
    assert int((buffer.tree.nodes[buffer.tree.leaves :] > 0).sum()) == held
    buffer.update_priorities((th.tensor([5]), th.tensor([1])), th.tensor([3.0]))
    largest = (3 + 1e-6) ** 0.6
    assert buffer.largest.item() == pytest.approx(largest)
    obs = np.zeros((2, 4, 36, 36), np.uint8)
    place = buffer.pos
    buffer.add(obs, obs, np.zeros(2), np.zeros(2), np.ones(2), [{}, {}])
    buffer.draw(4)
    leaves = th.tensor([place * 2, place * 2 + 1])
    assert buffer.tree.get(leaves).tolist() == pytest.approx([largest] * 2)


@pytest.mark.parametrize("on_device", [False, True])
def test_draws_follow_the_errors_to_the_power_of_alpha(on_device: bool) -> None:
    buffer = played(1, 100, buffer_size=100, alpha=0.5)
    buffer.prepare()
    errors = th.linspace(0.1, 4, 100)
    buffer.update_priorities((th.arange(100), th.zeros(100, dtype=th.int64)), -errors)
    np.random.seed(0)
    th.manual_seed(0)
    drawn = np.concatenate([buffer.draw(50, on_device)[0].numpy() for _ in range(2000)])
    expected = errors.double().sqrt().numpy()
    expected *= len(drawn) / expected.sum()
    assert chi_squared(np.bincount(drawn, minlength=100), expected) < CHI_SQUARED_999


def test_weights_undo_the_preference_as_far_as_beta_says() -> None:
    buffer = played(1, 3, buffer_size=3, alpha=1.0, beta=0.5)
    buffer.draw(1)
    places = th.arange(3), th.zeros(3, dtype=th.int64)
    buffer.update_priorities(places, th.tensor([1.0, 4.0, 16.0]))
    assert buffer.weights(places).flatten().tolist() == pytest.approx([1, 1 / 2, 1 / 4], rel=1e-4)
    buffer.anneal(1.0)
    assert buffer.weights(places).flatten().tolist() == pytest.approx([1, 1 / 4, 1 / 16], rel=1e-4)
    buffer.anneal(0.5)
    assert buffer.beta.item() == pytest.approx(0.75)


def test_priorities_are_saved_with_the_replay(tmp_path: Path) -> None:
    buffer = played(2, 120)
    buffer.draw(1)
    places = th.arange(50), th.zeros(50, dtype=th.int64)
    buffer.update_priorities(places, th.linspace(0, 9, 50))
    first = buffer.ring.added - buffer.size()
    save_steps(buffer, first, tmp_path / "replay.npy")
    loaded = played(2, 0)
    load_steps(loaded, buffer.ring.added, [tmp_path / "replay.npy"])
    loaded.set_extra(buffer.extra())
    assert th.equal(loaded.tree.nodes, buffer.tree.nodes)
    assert th.equal(loaded.largest, buffer.largest)
    loaded.prepare()
    assert th.equal(loaded.tree.nodes, buffer.tree.nodes)
    loaded.reset()
    assert loaded.size() == loaded.tree.total.item() == 0
