"""Stops training at the first number that is not finite, and says which one it was.

A single NaN reaches every weight within one update, and then nothing tells where it began. The
guard therefore looks between the gradient and the optimizer's step, while the weights are still
those that made the loss, and at gradients before clipping has spread one NaN over all of them. Two
numbers tell whether anything is wrong at all: the loss, and the norm that clipping needs anyway.
"""

from __future__ import annotations

import math

import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from custom.agents import non_finite_parameter
from custom.dqn import AtariDQN
from custom.errors import NonFiniteError
from custom.update import Values


class NanGuard(BaseCallback):
    """Checks every update before it is made; on a GPU the losses, whenever they are read.

    :raises NonFiniteError: from within `learn()`, naming the first of: parameter, target, loss,
        gradient, in the order in which an update computes them
    """

    model: AtariDQN

    def _on_training_start(self) -> None:
        self.model.guard = self.check

    def _on_training_end(self) -> None:
        self.model.guard = None

    def _on_step(self) -> bool:
        if not math.isfinite(self.logger.name_to_value.get("train/loss", 0.0)):
            bad = non_finite_parameter(self.model)
            self._stop(f"the parameter {bad}" if bad else "the target (a reward or the discount)")
        return True

    def check(self, values: Values) -> None:
        """What the learner calls in each update, once there are gradients."""
        if not th.isfinite(th.stack([values.loss, values.gradient_norm])).all():
            first = self._first(values)
            if first:
                self._stop(first)

    def _first(self, values: Values) -> str | None:
        bad = non_finite_parameter(self.model)
        if bad:
            return f"the parameter {bad}"
        if not th.isfinite(values.outputs.t).all():
            return "the target (the output of q_net_target)"
        if not th.isfinite(values.outputs.tm1).all():
            return "the loss (the output of q_net)"
        gradients = {n: p.grad for n, p in self.model.q_net.named_parameters()}
        bad_gradients = [n for n, g in gradients.items() if g is None or not th.isfinite(g).all()]
        if len(bad_gradients) == len(gradients) or not th.isfinite(values.loss):
            return "the target (a reward or the discount)"
        if not bad_gradients:  # large ones, whose squares are infinite
            return None
        return f"the gradient of q_net.{bad_gradients[-1]}"  # the first in backpropagation's order

    def _stop(self, tensor: str) -> None:
        raise NonFiniteError(
            f"training stopped at step {self.num_timesteps:,}: {tensor} has a value that is not"
            " finite; lower learning_rate or look at what feeds that tensor"
        )
