"""What a DQN learns from a batch, by its options: one loss for each transition."""

from __future__ import annotations

from typing import NamedTuple

import torch as th
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from custom.distributions import (
    categorical_loss,
    of_actions,
    project,
    quantile_loss,
    soft_quantiles,
    target_quantiles,
)
from custom.policies import Categorical, Distribution
from custom.targets import (
    Discount,
    double_q_target,
    munchausen_bonus,
    q_target,
    soft_target,
    td_loss,
)


class Outputs(NamedTuple):
    """Of the networks: (B, A) action values, or (B, N * A) of distributions.

    :param tm1: of the online network
    :param t: of the target network, for the next state
    :param online_t: of the online network, for the next state; where `Rule.asks_online_t`
    :param target_tm1: of the target network; where `Rule.asks_target_tm1`
    """

    tm1: th.Tensor
    t: th.Tensor
    online_t: th.Tensor | None = None
    target_tm1: th.Tensor | None = None


class Rule:
    """Options of the target and of the loss.

    :param double_q: the online network chooses the next action (van Hasselt et al. 2016)
    :param loss: ``huber`` or ``mse``, of the TD error; distributions have losses of their own
    :param munchausen_alpha: share of the log-policy in the reward (Vieillard et al. 2020: 0.9)
    :param munchausen_temperature: their tau, of the softmax policy (0.03)
    :param munchausen_clip: their l_0, the least that the log-policy can be (-1)
    :param distribution: of the return, or None for its expectation
    :raises ValueError: options that exclude each other
    """

    def __init__(
        self,
        double_q: bool,
        loss: str,
        munchausen_alpha: float,
        munchausen_temperature: float,
        munchausen_clip: float,
        distribution: Distribution | None,
    ) -> None:
        if munchausen_alpha and double_q:
            raise ValueError("munchausen_alpha takes no maximum to choose; delete double_q")
        if munchausen_alpha and isinstance(distribution, Categorical):
            raise ValueError("munchausen_alpha is not for n_atoms; write n_quantiles instead")
        if loss != "huber" and distribution is not None:
            raise ValueError(f"loss {loss} is of plain values, not of distributions; delete it")
        self.asks_online_t = double_q
        self.asks_target_tm1 = munchausen_alpha > 0
        self._loss = loss
        self._alpha, self._temperature = munchausen_alpha, munchausen_temperature
        self._clip = munchausen_clip
        self._distribution = distribution

    def __call__(
        self, outputs: Outputs, batch: ReplayBufferSamples, discount: Discount
    ) -> tuple[th.Tensor, th.Tensor]:
        """Losses, (B, 1), and how wrong the values were, (B,), without gradient.

        The latter are the priorities' measure: the TD error, or of distributions the loss, which is
        the divergence of Hessel et al. 2018 for atoms.
        """
        if self._distribution is not None:
            losses = self._of_distributions(self._distribution, outputs, batch, discount)
            return losses, losses.detach().flatten()
        taken = outputs.tm1.gather(1, batch.actions)
        with th.no_grad():
            target = self._target(outputs, batch, discount)
        return td_loss(taken, target, self._loss), (target - taken.detach()).flatten()

    def _rewards(self, q_tm1: th.Tensor | None, batch: ReplayBufferSamples) -> th.Tensor:
        if q_tm1 is None:
            return batch.rewards
        constants = self._alpha, self._temperature, self._clip
        return batch.rewards + munchausen_bonus(q_tm1, batch.actions, *constants)

    def _target(
        self, outputs: Outputs, batch: ReplayBufferSamples, discount: Discount
    ) -> th.Tensor:
        rewards, dones = self._rewards(outputs.target_tm1, batch), batch.dones
        if self.asks_target_tm1:
            return soft_target(rewards, dones, outputs.t, discount, self._temperature)
        if outputs.online_t is not None:
            return double_q_target(rewards, dones, outputs.online_t, outputs.t, discount)
        return q_target(rewards, dones, outputs.t, discount)

    def _of_distributions(
        self, kind: Distribution, outputs: Outputs, batch: ReplayBufferSamples, discount: Discount
    ) -> th.Tensor:
        learnt = of_actions(kind.distributions(outputs.tm1), batch.actions)
        with th.no_grad():
            all_t, q_t = kind.distributions(outputs.t), kind(outputs.t)
            chooses = q_t if outputs.online_t is None else kind(outputs.online_t)
            best = chooses.argmax(dim=1, keepdim=True)
            if isinstance(kind, Categorical):
                next_p = of_actions(all_t.softmax(dim=1), best)
                positions = target_quantiles(batch.rewards, batch.dones, kind.atoms[None], discount)
                target = project(next_p, positions, kind.atoms)
            else:
                q_tm1 = None if outputs.target_tm1 is None else kind(outputs.target_tm1)
                rewards = self._rewards(q_tm1, batch)
                if self.asks_target_tm1:
                    following = soft_quantiles(all_t, q_t, self._temperature)
                else:
                    following = of_actions(all_t, best)
                target = target_quantiles(rewards, batch.dones, following, discount)
        if isinstance(kind, Categorical):
            return categorical_loss(learnt, target)
        return quantile_loss(learnt, target)
