"""Stops training at the first number that is not finite, and says which one it was.

A single NaN reaches every weight within one update, and then nothing tells where it began. The
guard therefore looks between the gradient and the optimizer's step, while the weights are still
those that made the loss.
"""

from __future__ import annotations

from typing import Any

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.dqn.dqn import DQN
from torch.utils.hooks import RemovableHandle

from custom.agents import non_finite_parameter
from custom.errors import NonFiniteError


class NanGuard(BaseCallback):
    """Checks every update of a DQN before it is made.

    :raises NonFiniteError: from within `train()`, naming the first of: parameter, target, loss,
        gradient, in the order in which an update computes them
    """

    model: DQN

    def __init__(self) -> None:
        super().__init__()
        self._outputs: dict[str, th.Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def _on_training_start(self) -> None:
        self._handles = [
            self.model.q_net.register_forward_hook(self._remember("q_net")),
            self.model.q_net_target.register_forward_hook(self._remember("q_net_target")),
            self.model.policy.optimizer.register_step_pre_hook(self._before_step),
        ]

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._outputs = [], {}

    def _remember(self, name: str) -> Any:
        def hook(_module: th.nn.Module, _args: Any, output: th.Tensor) -> None:
            self._outputs[name] = output.detach()

        return hook

    def _before_step(self, optimizer: th.optim.Optimizer, *_: Any) -> None:
        grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms = th._foreach_norm([g for g in grads if g is not None])
        if th.isfinite(th.stack(norms)).all():
            return
        tensor = self._first()
        raise NonFiniteError(
            f"training stopped at step {self.num_timesteps:,}: {tensor} has a value that is not"
            " finite; lower learning_rate or look at what feeds that tensor"
        )

    def _first(self) -> str:
        bad = non_finite_parameter(self.model)
        if bad:
            return f"the parameter {bad}"
        if not th.isfinite(self._outputs["q_net_target"]).all():
            return "the target (the output of q_net_target)"
        if not th.isfinite(self._outputs["q_net"]).all():
            return "the loss (the output of q_net)"
        bad_grads = [
            name
            for name, parameter in self.model.policy.named_parameters()
            if parameter.grad is not None and not th.isfinite(parameter.grad).all()
        ]
        if len(bad_grads) == len(list(self.model.q_net.parameters())):
            return "the target (a reward or the discount)"
        return f"the gradient of {bad_grads[0]}"
