"""Stop training at the first NaN or infinity, and name the tensor in which it began.

One NaN reaches every weight within one update, and then its origin is lost. So the guard checks
between the backward pass and the optimizer's step: the weights are still those that gave the loss,
and clipping has not yet spread one NaN over all gradients. It reads two numbers: the loss, and the
gradient norm that clipping needs anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch as th
from stable_baselines3.common.policies import BasePolicy

from custom.system.errors import NonFiniteError

TARGET = "the target (a reward, the discount or the output of q_net_target)"


class NanGuard:
    """Raises `NonFiniteError` with the name of the first tensor that is not finite.

    :param policy: its parameters are checked, including those of the target network
    :param steps: returns the number of steps so far, for the message
    """

    def __init__(self, policy: BasePolicy, steps: Callable[[], int]) -> None:
        self.policy = policy
        self.steps = steps

    def check_loss(self, loss: float) -> None:
        """Check a loss after the optimizer's step, when all weights may be non-finite already."""
        if not math.isfinite(loss):
            bad = non_finite_parameter(self.policy)
            self._stop(f"the parameter {bad}" if bad else TARGET)

    def check_update(
        self, target: th.Tensor, outputs: th.Tensor, loss: th.Tensor, norm: th.Tensor
    ) -> None:
        """Check an update before the optimizer's step, its tensors in the order of computation.

        :param outputs: of the online network
        :param norm: of all gradients together, a scalar
        """
        if th.isfinite(th.stack([loss.detach(), norm])).all():
            return
        if bad := non_finite_parameter(self.policy):
            self._stop(f"the parameter {bad}")
        if not th.isfinite(target).all():
            self._stop(TARGET)
        if not th.isfinite(outputs).all():
            self._stop("the loss (the output of q_net)")
        if not th.isfinite(loss):
            self._stop("the loss (it is too large)")
        # The backward pass computes the last one first.
        for name, parameter in reversed(list(self.policy.named_parameters())):
            if parameter.grad is not None and not th.isfinite(parameter.grad).all():
                self._stop(f"the gradient of {name}")
        # All are finite, and only their norm overflows: clipping makes zeros of them.

    def _stop(self, tensor: str) -> None:
        raise NonFiniteError(
            f"training stopped at step {self.steps():,}: {tensor} has a value that is not"
            " finite; lower learning_rate or look at what feeds that tensor"
        )


def non_finite_parameter(policy: BasePolicy) -> str | None:
    """The first parameter, including those of the target network, with a NaN or infinity."""
    parameters = dict(policy.named_parameters())
    largest = th._foreach_norm(list(parameters.values()), math.inf)  # one call for all of them
    if th.isfinite(th.stack(largest)).all():
        return None
    return next(name for name, value in parameters.items() if not th.isfinite(value).all())
