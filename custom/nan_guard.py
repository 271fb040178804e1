"""Stops training at the first number that is not finite, and says which one it was.

A single NaN reaches every weight within one update, and then nothing tells where it began. The
guard therefore looks between the gradient and the optimizer's step, while the weights are still
those that made the loss, and at gradients before clipping has spread one NaN over all of them. Two
numbers tell whether anything is wrong at all: the loss, and the norm that clipping needs anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch as th
from stable_baselines3.common.policies import BasePolicy
from torch import nn

from custom.errors import NonFiniteError


class NanGuard:
    """Raises `NonFiniteError`, naming the first tensor that had a number that is not finite.

    :param policy: whose parameters are looked at
    :param steps: how far the training is, for the message
    """

    def __init__(self, policy: BasePolicy, steps: Callable[[], int]) -> None:
        self.policy = policy
        self.steps = steps

    def check_loss(self, loss: float) -> None:
        """Look at a loss after the optimizer's step, when many weights are not finite any more."""
        if not math.isfinite(loss):
            bad = non_finite_parameter(self.policy)
            self._stop(f"the parameter {bad}" if bad else "the target (a reward or the discount)")

    def check_update(
        self, network: nn.Module, q_t: th.Tensor, q_tm1: th.Tensor, loss: th.Tensor, norm: th.Tensor
    ) -> None:
        """Look at an update before the optimizer's step, in the order in which it was computed.

        :param network: that learns, with its gradients
        :param q_t: of the target network
        :param q_tm1: of the network that learns
        :param norm: of all gradients
        """
        if th.isfinite(th.stack([loss.detach(), norm])).all():
            return
        if bad := non_finite_parameter(self.policy):
            self._stop(f"the parameter {bad}")
        if not th.isfinite(q_t).all():
            self._stop("the target (the output of q_net_target)")
        if not th.isfinite(q_tm1).all():
            self._stop("the loss (the output of q_net)")
        gradients = {n: p.grad for n, p in network.named_parameters()}
        bad_gradients = [n for n, g in gradients.items() if g is None or not th.isfinite(g).all()]
        if len(bad_gradients) == len(gradients) or not th.isfinite(loss):
            self._stop("the target (a reward or the discount)")
        if bad_gradients:  # or else they are large ones, whose squares are infinite
            # The last one comes first in backpropagation's order.
            self._stop(f"the gradient of q_net.{bad_gradients[-1]}")

    def _stop(self, tensor: str) -> None:
        raise NonFiniteError(
            f"training stopped at step {self.steps():,}: {tensor} has a value that is not"
            " finite; lower learning_rate or look at what feeds that tensor"
        )


def non_finite_parameter(policy: BasePolicy) -> str | None:
    """The first parameter, of the target network too, that has a value that is not finite."""
    parameters = dict(policy.named_parameters())
    largest = th._foreach_norm(list(parameters.values()), math.inf)  # one number each, in one call
    if th.isfinite(th.stack(largest)).all():
        return None
    return next(name for name, value in parameters.items() if not th.isfinite(value).all())
