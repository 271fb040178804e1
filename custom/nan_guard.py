"""Stops training at the first number that is not finite, and says which one it was.

A single NaN reaches every weight within one update, and then nothing tells where it began. The
guard therefore looks between the gradient and the optimizer's step, while the weights are still
those that made the loss, and at gradients before clipping has spread one NaN over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.dqn.dqn import DQN
from torch.utils.hooks import RemovableHandle

from custom.agents import non_finite_parameter
from custom.errors import NonFiniteError


class NanGuard(BaseCallback):
    """Checks every update of a DQN before it is made; an infinite reward right after it.

    :raises NonFiniteError: from within `learn()`, naming the first of: parameter, target, loss,
        gradient, in the order in which an update computes them
    """

    model: DQN

    def __init__(self) -> None:
        super().__init__()
        self._outputs: dict[str, th.Tensor] = {}
        self._largest_grads: dict[str, th.Tensor] = {}  # in the order of backpropagation
        self._handles: list[RemovableHandle] = []
        self._ended = True

    def _on_training_start(self) -> None:
        self._ended = False
        self._handles = [
            self.model.q_net.register_forward_hook(self._remember_output("q_net")),
            self.model.q_net_target.register_forward_hook(self._remember_output("q_net_target")),
            self.model.policy.optimizer.register_step_pre_hook(self._before_step),
        ]
        for name, parameter in self.model.q_net.named_parameters():
            remember = self._remember_gradient(f"q_net.{name}")
            handle = parameter.register_post_accumulate_grad_hook(remember)  # type: ignore[no-untyped-call]  # untyped in torch
            self._handles.append(handle)

    def _on_step(self) -> bool:
        self._check_loss()
        return True

    def _check_loss(self) -> None:
        """An infinite reward has an infinite loss, but a finite gradient: Huber's loss clips it."""
        if not math.isfinite(self.logger.name_to_value.get("train/loss", 0.0)):
            self._stop("the target (a reward or the discount)")

    def _on_training_end(self) -> None:
        ended, self._ended = self._ended, True
        for handle in self._handles:
            handle.remove()
        self._handles, self._outputs, self._largest_grads = [], {}, {}
        if not ended:
            self._check_loss()

    def _remember_output(self, name: str) -> Callable[..., None]:
        def hook(_module: th.nn.Module, _args: Any, output: th.Tensor) -> None:
            self._outputs[name] = output.detach()

        return hook

    def _remember_gradient(self, name: str) -> Callable[[th.Tensor], None]:
        def hook(parameter: th.Tensor) -> None:
            assert parameter.grad is not None
            self._largest_grads[name] = th.linalg.vector_norm(parameter.grad, math.inf)

        return hook

    def _before_step(self, *_: Any) -> None:
        """One look at a handful of largest values; only if it fails is the tensor searched for."""
        outputs = th._foreach_norm(list(self._outputs.values()), math.inf)
        largest = [*self._largest_grads.values(), *outputs]
        if not th.isfinite(th.stack(largest)).all():
            self._stop(self._first())

    def _first(self) -> str:
        bad = non_finite_parameter(self.model)
        if bad:
            return f"the parameter {bad}"
        if not th.isfinite(self._outputs["q_net_target"]).all():
            return "the target (the output of q_net_target)"
        if not th.isfinite(self._outputs["q_net"]).all():
            return "the loss (the output of q_net)"
        bad_grads = [name for name, value in self._largest_grads.items() if not th.isfinite(value)]
        if len(bad_grads) == len(self._largest_grads):
            return "the target (a reward or the discount)"
        return f"the gradient of {bad_grads[0]}"

    def _stop(self, tensor: str) -> None:
        raise NonFiniteError(
            f"training stopped at step {self.num_timesteps:,}: {tensor} has a value that is not"
            " finite; lower learning_rate or look at what feeds that tensor"
        )
