"""Losses of DQN per transition, for action values, quantiles and atoms, each with its target.

The three classes have the same interface:

- ``target(batch, discount, q)`` is what the online network should output. Call it without gradient.
- ``loss(q_tm1, actions, target)`` compares the network's outputs for the states with the target. It
  returns a loss and an error per transition; prioritized replay makes priorities of the errors.

Shapes: B transitions, A actions, N quantiles or atoms; actions are (B, 1). Time as in rlax: ``tm1``
is the state that is learnt from, ``t`` the state after it (`n_steps` later).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch as th

from custom.learner.targets import (
    Discount,
    categorical_loss,
    double_q_target,
    munchausen_bonus,
    of_actions,
    project,
    quantile_loss,
    soft_quantiles,
    soft_target,
    target_quantiles,
    td_loss,
)
from custom.policies import Categorical, Distribution
from custom.replay.buffer import Batch

Losses = tuple[th.Tensor, th.Tensor]  # losses (B, 1), and errors (B,) without gradient


class NextValues(NamedTuple):
    """Network outputs that a target is made of: (B, A), or (B, N * A) of distributions.

    :param target_t: target network, next states
    :param chooser_t: next states, from the network that chooses the next action: the online network
        for Double Q-learning, else the target network
    :param target_tm1: target network, states; None except for Munchausen
    """

    target_t: th.Tensor
    chooser_t: th.Tensor
    target_tm1: th.Tensor | None


@dataclass(frozen=True)
class Munchausen:
    """The log-policy as part of the reward (Vieillard et al. 2020, eq. 2).

    :param alpha: scale of the log-policy (0.9 in the paper)
    :param temperature: their tau, of the softmax policy (0.03)
    :param clip: their l_0, the lower bound of tau times the log-policy (-1)
    """

    alpha: float
    temperature: float
    clip: float

    def rewards(self, batch: Batch, q_target_tm1: th.Tensor) -> th.Tensor:
        """Rewards with `munchausen_bonus`: (B, 1).

        :param q_target_tm1: (B, A) action values of the target network for the states
        """
        constants = self.alpha, self.temperature, self.clip
        return batch.rewards + munchausen_bonus(q_target_tm1, batch.actions, *constants)


class ValueLoss:
    """TD loss of action values; its error is the TD error (Schaul et al. 2016).

    :param kind: ``huber`` or ``mse``
    :param munchausen: None: the target is that of (Double) Q-learning
    """

    def __init__(self, kind: str, munchausen: Munchausen | None) -> None:
        self.kind, self.munchausen = kind, munchausen

    def target(self, batch: Batch, discount: Discount, q: NextValues) -> th.Tensor:
        """Target values, (B, 1)."""
        if self.munchausen is not None:
            assert q.target_tm1 is not None
            rewards = self.munchausen.rewards(batch, q.target_tm1)
            temperature = self.munchausen.temperature
            return soft_target(rewards, batch.dones, q.target_t, discount, temperature)
        return double_q_target(batch.rewards, batch.dones, q.chooser_t, q.target_t, discount)

    def __call__(self, q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Losses:
        """Losses and TD errors; `q_tm1` is (B, A)."""
        prediction = q_tm1.gather(1, actions)
        errors = (target - prediction.detach()).flatten()
        return td_loss(prediction, target, self.kind), errors


class QuantileLoss:
    """Quantile regression (Dabney et al. 2018); its error is the loss."""

    def __init__(self, distribution: Distribution, munchausen: Munchausen | None) -> None:
        self.distribution, self.munchausen = distribution, munchausen

    def target(self, batch: Batch, discount: Discount, q: NextValues) -> th.Tensor:
        """Target quantiles, (B, N)."""
        quantiles_t = self.distribution.distributions(q.target_t)  # (B, N, A)
        if self.munchausen is not None:
            assert q.target_tm1 is not None
            rewards = self.munchausen.rewards(batch, self.distribution(q.target_tm1))
            q_t = self.distribution(q.target_t)
            soft = soft_quantiles(quantiles_t, q_t, self.munchausen.temperature)
            return target_quantiles(rewards, batch.dones, soft, discount)
        best = self.distribution(q.chooser_t).argmax(dim=1, keepdim=True)
        return target_quantiles(batch.rewards, batch.dones, of_actions(quantiles_t, best), discount)

    def __call__(self, q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Losses:
        """Quantile Huber losses, also as errors; `q_tm1` is (B, N * A)."""
        prediction = of_actions(self.distribution.distributions(q_tm1), actions)
        losses = quantile_loss(prediction, target)
        return losses, losses.detach().flatten()


class CategoricalLoss:
    """C51 (Bellemare et al. 2017); its error is the KL divergence (Hessel et al. 2018)."""

    munchausen = None

    def __init__(self, distribution: Categorical) -> None:
        self.distribution = distribution

    def target(self, batch: Batch, discount: Discount, q: NextValues) -> th.Tensor:
        """Target probabilities of the atoms, (B, N)."""
        atoms = self.distribution.atoms
        best = self.distribution(q.chooser_t).argmax(dim=1, keepdim=True)
        probabilities = self.distribution.distributions(q.target_t).softmax(dim=1)  # (B, N, A)
        positions = target_quantiles(batch.rewards, batch.dones, atoms[None], discount)
        return project(of_actions(probabilities, best), positions, atoms)

    def __call__(self, q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Losses:
        """KL divergences, also as errors; `q_tm1` is (B, N * A)."""
        prediction = of_actions(self.distribution.distributions(q_tm1), actions)
        losses = categorical_loss(prediction, target)
        return losses, losses.detach().flatten()


Loss = ValueLoss | QuantileLoss | CategoricalLoss


def make_loss(
    kind: str, double_q: bool, munchausen: Munchausen | None, distribution: Distribution | None
) -> Loss:
    """The loss for a learner's options.

    :param kind: ``huber`` or ``mse``, for action values
    :param double_q: only checked here; `Update.step` makes the online network the chooser
    :param distribution: the network's last layer; None: it outputs action values
    :raises ValueError: options that exclude each other
    """
    if munchausen is not None and double_q:
        raise ValueError("munchausen_alpha has no argmax for double_q to change; delete double_q")
    if munchausen is not None and isinstance(distribution, Categorical):
        raise ValueError("munchausen_alpha is not for n_atoms; write n_quantiles instead")
    if kind != "huber" and distribution is not None:
        raise ValueError(f"loss {kind} is for action values, not for distributions; delete it")
    if distribution is None:
        return ValueLoss(kind, munchausen)
    if isinstance(distribution, Categorical):
        return CategoricalLoss(distribution)
    return QuantileLoss(distribution, munchausen)
