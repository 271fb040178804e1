"""Losses of DQN for action values, quantiles and atoms, with the targets that they compare with.

All three have the same two methods, so that a gradient step reads alike for each. Time as in rlax:
``tm1`` is the step that is learnt from, ``t`` the one after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch as th

from custom.buffers import Batch
from custom.distributions import (
    categorical_loss,
    of_actions,
    project,
    quantile_loss,
    soft_quantiles,
    target_quantiles,
)
from custom.policies import Categorical, Distribution
from custom.targets import Discount, double_q_target, munchausen_bonus, soft_target, td_loss

# (B, 1), and (B,) errors for prioritized replay, without gradient
Losses = tuple[th.Tensor, th.Tensor]


class NextValues(NamedTuple):
    """Outputs of networks for a target: (B, A) action values, or (B, N * A) of distributions.

    :param target_t: of the target network for the next states
    :param chooser_t: for the next states, of the network that chooses the action
    :param target_tm1: of the target network for the states; where `munchausen` is asked for
    """

    target_t: th.Tensor
    chooser_t: th.Tensor
    target_tm1: th.Tensor | None


class Loss(Protocol):
    """What `Update` needs of a loss."""

    munchausen: Munchausen | None

    def target(self, batch: Batch, discount: Discount, q: NextValues) -> th.Tensor:
        """(B, 1) values or (B, N) of a distribution; call it without gradient."""

    def __call__(self, q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Losses:
        """Losses of the network's outputs for the states."""


@dataclass(frozen=True)
class Munchausen:
    """The log-policy in the reward (Vieillard et al. 2020, eq. 2).

    :param alpha: its share (0.9 in the paper)
    :param temperature: their tau, of the softmax policy (0.03)
    :param clip: their l_0, the least that the log-policy can be (-1)
    """

    alpha: float
    temperature: float
    clip: float

    def rewards(self, batch: Batch, q_target_tm1: th.Tensor) -> th.Tensor:
        """Rewards with the bonus: (B, 1)."""
        constants = self.alpha, self.temperature, self.clip
        return batch.rewards + munchausen_bonus(q_target_tm1, batch.actions, *constants)


class ValueLoss:
    """The TD error of action values; its size is the priority (Schaul et al. 2016).

    :param kind: ``huber`` or ``mse``
    """

    def __init__(self, kind: str, munchausen: Munchausen | None) -> None:
        self.kind, self.munchausen = kind, munchausen

    def target(self, batch: Batch, discount: Discount, q: NextValues) -> th.Tensor:
        """(B, 1)."""
        if self.munchausen is not None:
            assert q.target_tm1 is not None
            rewards = self.munchausen.rewards(batch, q.target_tm1)
            return soft_target(
                rewards, batch.dones, q.target_t, discount, self.munchausen.temperature
            )
        return double_q_target(batch.rewards, batch.dones, q.chooser_t, q.target_t, discount)

    def __call__(self, q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Losses:
        """The Huber or squared error, and the TD error."""
        prediction = q_tm1.gather(1, actions)
        errors = (target - prediction.detach()).flatten()
        return td_loss(prediction, target, self.kind), errors


class QuantileLoss:
    """Quantile regression (Dabney et al. 2018); its own size is the priority."""

    def __init__(self, distribution: Distribution, munchausen: Munchausen | None) -> None:
        self.distribution, self.munchausen = distribution, munchausen

    def target(self, batch: Batch, discount: Discount, q: NextValues) -> th.Tensor:
        """(B, N) quantiles."""
        quantiles_t, mean = self.distribution.distributions(q.target_t), self.distribution
        if self.munchausen is not None:
            assert q.target_tm1 is not None
            rewards = self.munchausen.rewards(batch, mean(q.target_tm1))
            following = soft_quantiles(quantiles_t, mean(q.target_t), self.munchausen.temperature)
            return target_quantiles(rewards, batch.dones, following, discount)
        best = mean(q.chooser_t).argmax(dim=1, keepdim=True)
        following = of_actions(quantiles_t, best)
        return target_quantiles(batch.rewards, batch.dones, following, discount)

    def __call__(self, q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Losses:
        """The quantile Huber loss, twice."""
        prediction = of_actions(self.distribution.distributions(q_tm1), actions)
        losses = quantile_loss(prediction, target)
        return losses, losses.detach().flatten()


class CategoricalLoss:
    """C51 (Bellemare et al. 2017); the divergence is the priority (Hessel et al. 2018)."""

    munchausen: Munchausen | None = None

    def __init__(self, distribution: Categorical) -> None:
        self.distribution = distribution

    def target(self, batch: Batch, discount: Discount, q: NextValues) -> th.Tensor:
        """(B, N) probabilities of the atoms."""
        atoms, mean = self.distribution.atoms, self.distribution
        best = mean(q.chooser_t).argmax(dim=1, keepdim=True)
        following = of_actions(self.distribution.distributions(q.target_t).softmax(dim=1), best)
        positions = target_quantiles(batch.rewards, batch.dones, atoms[None], discount)
        return project(following, positions, atoms)

    def __call__(self, q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Losses:
        """The divergence, twice."""
        prediction = of_actions(self.distribution.distributions(q_tm1), actions)
        losses = categorical_loss(prediction, target)
        return losses, losses.detach().flatten()


def make_loss(
    kind: str, double_q: bool, munchausen: Munchausen, distribution: Distribution | None
) -> Loss:
    """The loss of a recipe's options.

    :param kind: ``huber`` or ``mse``, for action values
    :param munchausen: with ``alpha`` 0 for none
    :param distribution: of the return, or None for its expectation
    :raises ValueError: options that exclude each other
    """
    if munchausen.alpha and double_q:
        raise ValueError("munchausen_alpha takes no maximum to choose; delete double_q")
    if munchausen.alpha and isinstance(distribution, Categorical):
        raise ValueError("munchausen_alpha is not for n_atoms; write n_quantiles instead")
    if kind != "huber" and distribution is not None:
        raise ValueError(f"loss {kind} is of plain values, not of distributions; delete it")
    used = munchausen if munchausen.alpha else None
    if distribution is None:
        return ValueLoss(kind, used)
    if isinstance(distribution, Categorical):
        return CategoricalLoss(distribution)
    return QuantileLoss(distribution, used)
