"""Targets and losses of Q-learning: pure functions of tensors.

Time as in rlax: ``tm1`` is the step that is learnt from, ``t`` the one after it. Losses are one
number for each transition, so that prioritized replay can weigh them.
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
    """Double Q-learning's target (van Hasselt et al. 2016, eq. 4); call it without gradient.

    With the same values for both it is Q-learning's (Mnih et al. 2015, eq. 2).

    :param rewards: (B, 1), clipped, of one step or discounted over several
    :param dones: (B, 1), 1 where nothing follows
    :param q_online: (B, A) next state's values that choose the action
    :param q_target: (B, A) next state's values that price it
    :param discount: of the next state's value, a number or (B, 1)
    :return: (B, 1)
    """
    best = q_online.argmax(dim=1, keepdim=True)
    return rewards + (1 - dones) * discount * q_target.gather(1, best)


def munchausen_bonus(
    q_tm1: th.Tensor, actions: th.Tensor, alpha: float, temperature: float, clip: float
) -> th.Tensor:
    """What Munchausen-DQN adds to the reward: the scaled log-policy of the action that was taken.

    Vieillard et al. 2020, eq. 2, with the clipping of their section 3: ``alpha * [tau ln pi]``
    between `clip` and 0, pi the softmax of the target network's values over the temperature tau.

    :param q_tm1: (B, A) by the target network
    :param actions: (B, 1), int64
    :param clip: their l_0, below 0
    :return: (B, 1), at most 0
    """
    log_policy = functional.log_softmax(q_tm1 / temperature, dim=1).gather(1, actions)
    return alpha * (temperature * log_policy).clamp(clip, 0)


def soft_target(
    rewards: th.Tensor, dones: th.Tensor, q_t: th.Tensor, discount: Discount, temperature: float
) -> th.Tensor:
    """The target with the soft value of the next state (Vieillard et al. 2020, eq. 1).

    Their sum of ``pi (q - tau ln pi)`` over the actions is ``tau ln sum exp(q / tau)``.

    :param rewards: (B, 1), with `munchausen_bonus`
    :param q_t: (B, A) values of the next state by the target network
    :return: (B, 1)
    """
    value = temperature * th.logsumexp(q_t / temperature, dim=1, keepdim=True)
    return rewards + (1 - dones) * discount * value


def td_loss(taken: th.Tensor, target: th.Tensor, loss: str) -> th.Tensor:
    """Of the taken actions' values.

    :param taken: (B, 1)
    :param target: (B, 1)
    :param loss: ``huber``, whose gradient is the TD error in [-1, 1], or ``mse``, its square
    :return: (B, 1)
    """
    function = functional.smooth_l1_loss if loss == "huber" else functional.mse_loss
    return function(taken, target, reduction="none")
