"""Targets and losses of Q-learning: pure functions of tensors.

Time as in rlax: ``tm1`` is the step that is learnt from, ``t`` the one after it.
"""

from __future__ import annotations

import torch as th
from torch.nn import functional

Discount = float | th.Tensor


def q_target(rewards: th.Tensor, dones: th.Tensor, q_t: th.Tensor, discount: Discount) -> th.Tensor:
    """Q-learning's target (Mnih et al. 2015, eq. 2); call it without gradient.

    :param rewards: (B, 1), clipped, of one step or discounted over several
    :param dones: (B, 1), 1 where nothing follows
    :param q_t: (B, A) values of the next state by the target network
    :param discount: of the next state's value, a number or (B, 1)
    :return: (B, 1)
    """
    best, _ = q_t.max(dim=1)
    return rewards + (1 - dones) * discount * best.reshape(-1, 1)


def huber_loss(q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> th.Tensor:
    """Mean Huber loss of the taken actions' values; its gradient is the TD error in [-1, 1].

    :param q_tm1: (B, A)
    :param actions: (B, 1), int64
    :param target: (B, 1)
    :return: a number
    """
    taken = th.gather(q_tm1, dim=1, index=actions)
    return functional.smooth_l1_loss(taken, target)
