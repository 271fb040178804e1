"""Targets and losses on numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch as th
from sb3_contrib.common.utils import quantile_huber_loss

from custom.learner.targets import (
    Loss,
    bellman,
    categorical_loss,
    munchausen_bonus,
    of_actions,
    project,
    quantile_loss,
    soft_value,
    td_loss,
)
from custom.policies import Distribution
from custom.replay.buffer import Batch

REWARDS, GOING, OVER = th.tensor([[0.5]]), th.zeros(1, 1), th.ones(1, 1)
ATOMS = Distribution(2, th.linspace(-10, 10, 51))


def target(
    dones: th.Tensor, online: list[float], valued: list[float], **options: Any
) -> list[list[float]]:
    """The target for networks that always output the same, for a discount of 0.5."""
    anything = th.zeros(1, 1)
    batch = Batch(anything, th.zeros(1, 1, dtype=th.int64), anything, dones, REWARDS)
    outputs = (lambda _, q=q: th.tensor([q]) for q in (online, valued))
    result: list[list[float]] = Loss(gamma=0.5, **options).target(batch, *outputs).tolist()
    return result


def test_the_target_is_the_discounted_best_value_or_that_which_the_online_net_picks() -> None:
    assert target(GOING, [5.0, 0.0], [1.0, 3.0]) == [[2.0]]  # 0.5 + 0.5 * 3
    assert target(OVER, [5.0, 0.0], [1.0, 3.0]) == [[0.5]]
    assert target(GOING, [1.0, 3.0], [9.0, 2.0], double_q=True) == [[1.5]]  # 0.5 + 0.5 * 2
    assert target(OVER, [1.0, 3.0], [9.0, 2.0], double_q=True) == [[0.5]]
    z_t, discounts = th.tensor([[2.0], [2.0]]), th.tensor([[0.5], [0.25]])
    rewards, dones = REWARDS.expand(2, 1), GOING.expand(2, 1)
    assert bellman(rewards, dones, z_t, discounts).tolist() == [[1.5], [1.0]]
    quantiles = th.tensor([[1.0, 3.0]])
    assert bellman(REWARDS, GOING, quantiles, 0.5).tolist() == [[1.0, 2.0]]
    assert bellman(REWARDS, OVER, quantiles, 0.5).tolist() == [[0.5, 0.5]]


def test_the_munchausen_bonus_is_the_clipped_log_policy_of_the_target_network() -> None:
    q = th.tensor([[0.0, math.log(3.0)]])  # policies 1/4 and 3/4 at temperature 1
    for action, policy in ((0, 0.25), (1, 0.75)):
        bonus = munchausen_bonus(q, th.tensor([[action]]), 0.9, 1.0, -9.0)
        assert bonus.item() == pytest.approx(0.9 * math.log(policy))
    q = th.tensor([[0.0, 5.0]])
    assert munchausen_bonus(q, th.tensor([[0]]), 0.9, 0.03, -1.0).item() == pytest.approx(-0.9)
    assert munchausen_bonus(q, th.tensor([[1]]), 0.9, 0.03, -1.0).item() == pytest.approx(0.0)
    asked: list[th.Tensor] = []
    obs = th.zeros(2, 1, 1)  # the observation and the next
    batch = Batch(obs[0], th.zeros(1, 1, dtype=th.int64), obs[1] + 1, GOING, REWARDS)

    def valued(seen: th.Tensor) -> th.Tensor:
        asked.append(seen)
        return th.tensor([[1.0, 3.0]])

    Loss(gamma=0.5, munchausen_alpha=0.9).target(batch, lambda _: pytest.fail("online"), valued)
    assert [seen.item() for seen in asked] == [1, 0]


def test_the_soft_value_is_of_value_and_entropy_and_the_mean_of_soft_quantiles() -> None:
    q_t, temperature = th.tensor([[0.2, -0.1, 0.4]]), 0.3
    policy = (q_t / temperature).softmax(dim=1)
    value = (policy * (q_t - temperature * policy.log())).sum()  # eq. 1 of the paper
    assert soft_value(q_t[:, None], q_t, temperature).item() == pytest.approx(value.item())
    assert soft_value(q_t[:, None], q_t, 1e-4).item() == pytest.approx(0.4)  # the best value
    quantiles = th.randn(3, 7, 4)
    q_t = quantiles.mean(dim=1)
    soft = soft_value(quantiles, q_t, 0.3).mean(dim=1)
    assert th.allclose(soft, 0.3 * th.logsumexp(q_t / 0.3, dim=1), atol=1e-6)


def test_losses_of_a_small_and_a_large_error_of_the_action_that_was_taken() -> None:
    taken, target = th.tensor([[0.0], [0.0]]), th.tensor([[0.5], [3.0]])
    assert td_loss(taken, target, "huber").flatten().tolist() == [0.125, 2.5]
    assert td_loss(taken, target, "mse").flatten().tolist() == [0.25, 9.0]
    outputs = th.tensor([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]])
    assert of_actions(outputs, th.tensor([[1]])).tolist() == [[10.0, 20.0, 30.0]]


def test_the_quantile_loss_is_that_by_hand_and_sb3_contribs() -> None:
    # midpoints 1/4 and 3/4; both quantiles at 0; targets 0.5 (below 1: squared) and -2
    loss = quantile_loss(th.zeros(1, 2), th.tensor([[0.5, -2.0]]))
    first = (0.25 * 0.125 + 0.75 * 1.5) / 2
    second = (0.75 * 0.125 + 0.25 * 1.5) / 2
    assert loss.item() == pytest.approx(first + second)
    quantiles, targets = th.randn(6, 5), th.randn(6, 5)
    theirs = quantile_huber_loss(quantiles, targets, sum_over_quantiles=True)
    assert quantile_loss(quantiles, targets).mean().item() == pytest.approx(theirs.item(), rel=1e-5)


def test_a_shifted_atom_is_shared_by_its_neighbours_and_the_mean_stays() -> None:
    atoms = th.tensor([-1.0, 0.0, 1.0])
    moved = project(th.tensor([[0.0, 0.5, 0.5]]), th.tensor([[-0.75, 0.25, 1.25]]), atoms)
    assert moved.tolist() == [[0.0, 0.375, 0.625]]  # 0.5 at 0.25: 3/4 to 0; beyond the last: to it
    atoms = th.linspace(-10, 10, 51)
    probabilities = th.rand(8, 51).softmax(dim=1)
    positions = 0.3 + 0.9 * atoms.expand(8, 51)
    moved = project(probabilities, positions, atoms)
    assert th.allclose(moved.sum(dim=1), th.ones(8), atol=1e-5)
    assert th.allclose((moved * atoms).sum(1), (probabilities * positions).sum(1), atol=1e-4)


def test_the_categorical_loss_is_the_divergence_from_the_target_and_finite() -> None:
    logits, target = th.log(th.tensor([[0.2, 0.8]])), th.tensor([[0.5, 0.5]])
    expected = 0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8)
    assert categorical_loss(logits, target).item() == pytest.approx(expected)
    assert categorical_loss(th.log(target), target).item() == pytest.approx(0)
    logits = th.zeros(1, 3, requires_grad=True)
    loss = categorical_loss(logits, th.tensor([[0.0, 1.0, 0.0]]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(3))
    assert logits.grad.flatten().tolist() == pytest.approx([1 / 3, -2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"double_q": True, "munchausen_alpha": 0.9}, "delete double_q"),
        ({"munchausen_alpha": 0.9, "distribution": ATOMS}, "is not for n_atoms"),
        ({"kind": "mse", "distribution": Distribution(2)}, "not for distributions"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loss(**options)
