"""Targets and losses of Q-learning: pure functions of tensors, hand-checked in their tests.

Time as in rlax: ``tm1`` is the step that is learnt from, ``t`` the one after it. Shapes: B
transitions, A actions, N quantiles or atoms. Losses are one number per transition, so that
prioritized replay can weigh them. Call target functions without gradient.

In all functions `rewards` are (B, 1), clipped, of one step or the discounted sum of n steps;
`dones` are (B, 1), 1 where the episode ended; `discount` multiplies the next state's value: gamma,
or gamma^n as (B, 1).
"""

from __future__ import annotations

import torch as th
from torch.nn import functional

Discount = float | th.Tensor


def double_q_target(
    rewards: th.Tensor,
    dones: th.Tensor,
    q_online: th.Tensor,
    q_target: th.Tensor,
    discount: Discount,
) -> th.Tensor:
    """Double Q-learning target (van Hasselt et al. 2016, eq. 4).

    With `q_online` equal to `q_target` it is that of Q-learning (Mnih et al. 2015, eq. 2).

    :param q_online: (B, A) next-state values that choose the action
    :param q_target: (B, A) next-state values that evaluate it
    :return: (B, 1)
    """
    best = q_online.argmax(dim=1, keepdim=True)
    return rewards + (1 - dones) * discount * q_target.gather(1, best)


def munchausen_bonus(
    q_tm1: th.Tensor, actions: th.Tensor, alpha: float, temperature: float, clip: float
) -> th.Tensor:
    """The scaled log-policy that Munchausen-DQN adds to the reward (Vieillard et al. 2020, eq. 2).

    ``alpha * [tau ln pi]``, clipped to [`clip`, 0] (their section 3); pi is the softmax of the
    target network's values over the temperature tau.

    :param q_tm1: (B, A) of the target network
    :param actions: (B, 1), int64
    :param clip: their l_0, at most 0
    :return: (B, 1), at most 0
    """
    log_policy = functional.log_softmax(q_tm1 / temperature, dim=1).gather(1, actions)
    return alpha * (temperature * log_policy).clamp(clip, 0)


def soft_target(
    rewards: th.Tensor, dones: th.Tensor, q_t: th.Tensor, discount: Discount, temperature: float
) -> th.Tensor:
    """Target with the soft value of the next state (Vieillard et al. 2020, eq. 1).

    Their sum of ``pi (q - tau ln pi)`` over the actions is ``tau ln sum exp(q / tau)``.

    :param rewards: (B, 1), with `munchausen_bonus`
    :param q_t: (B, A) next-state values of the target network
    :return: (B, 1)
    """
    value = temperature * th.logsumexp(q_t / temperature, dim=1, keepdim=True)
    return rewards + (1 - dones) * discount * value


def td_loss(taken: th.Tensor, target: th.Tensor, loss: str) -> th.Tensor:
    """Loss of the TD error, ``target - taken``.

    :param taken: (B, 1) values of the actions taken
    :param target: (B, 1)
    :param loss: ``huber``, whose gradient is the TD error clipped to [-1, 1], or ``mse``
    :return: (B, 1)
    """
    function = functional.smooth_l1_loss if loss == "huber" else functional.mse_loss
    return function(taken, target, reduction="none")


def of_actions(distributions: th.Tensor, actions: th.Tensor) -> th.Tensor:
    """Select the distribution of one action per transition.

    :param distributions: (B, N, A)
    :param actions: (B, 1), int64
    :return: (B, N)
    """
    index = actions[:, None, :].expand(-1, distributions.shape[1], 1)
    return distributions.gather(2, index).squeeze(2)


def target_quantiles(
    rewards: th.Tensor, dones: th.Tensor, quantiles: th.Tensor, discount: Discount
) -> th.Tensor:
    """Bellman update of each quantile (Dabney et al. 2018, algorithm 1), or of each atom.

    :param quantiles: (B, N) of the next action, or (1, N) for atoms
    :return: (B, N)
    """
    return rewards + (1 - dones) * discount * quantiles


def soft_quantiles(quantiles: th.Tensor, q_t: th.Tensor, temperature: float) -> th.Tensor:
    """Quantiles of the soft value of the next state, for Munchausen.

    Each is the sum over actions of ``pi (z - tau ln pi)``, as in Munchausen-IQN (Vieillard et al.
    2020, eq. 5).

    :param quantiles: (B, N, A), z
    :param q_t: (B, A), their means, whose softmax is the policy pi
    :return: (B, N)
    """
    log_policy = functional.log_softmax(q_t / temperature, dim=1)[:, None, :]
    return (log_policy.exp() * (quantiles - temperature * log_policy)).sum(dim=2)


def quantile_loss(quantiles: th.Tensor, targets: th.Tensor) -> th.Tensor:
    """Quantile Huber loss with kappa 1 (Dabney et al. 2018, eq. 10).

    :param quantiles: (B, N), estimates at the quantile midpoints (i + 0.5) / N
    :param targets: (B, M)
    :return: (B, 1): the sum over quantiles of the mean over targets
    """
    n = quantiles.shape[1]
    midpoints = (th.arange(n, device=quantiles.device) + 0.5) / n
    error = targets[:, None, :] - quantiles[:, :, None]  # (B, N, M)
    huber = th.where(error.abs() <= 1, 0.5 * error**2, error.abs() - 0.5)
    weight = (midpoints[None, :, None] - (error.detach() < 0).float()).abs()
    return (weight * huber).mean(dim=2).sum(dim=1, keepdim=True)


def project(probabilities: th.Tensor, positions: th.Tensor, atoms: th.Tensor) -> th.Tensor:
    """Project a distribution on shifted atoms to the fixed ones (Bellemare et al. 2017, eq. 7).

    :param probabilities: (B, N), of `positions`
    :param positions: (B, N), each atom after the Bellman update
    :param atoms: (N,), equally spaced
    :return: (B, N)
    """
    spacing = atoms[1] - atoms[0]
    distance = (positions.clamp(atoms[0], atoms[-1])[:, None, :] - atoms[None, :, None]).abs()
    return ((1 - distance / spacing).clamp(min=0) * probabilities[:, None, :]).sum(dim=2)


def categorical_loss(logits: th.Tensor, target: th.Tensor) -> th.Tensor:
    """KL divergence of the target from the network's probabilities, KL(target, network).

    Its gradient is that of the cross entropy (Bellemare et al. 2017, algorithm 1). It is 0 where
    they are equal, so it can be the priority (Hessel et al. 2018).

    :param logits: (B, N)
    :param target: (B, N) probabilities
    :return: (B, 1)
    """
    log_network = functional.log_softmax(logits, dim=1)
    return (th.xlogy(target, target) - target * log_network).sum(dim=1, keepdim=True)
