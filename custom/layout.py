"""Where the numbers of a network and its optimizer lie, so that they are computed fast.

None of this changes what is computed, but for the rounding of float32. What leaves the learner (an
agent that is saved) is laid out as SB3's.
"""

from __future__ import annotations

from typing import Any

import torch as th
from stable_baselines3.common.torch_layers import NatureCNN
from torch.optim import Optimizer

WIDE = 2**18  # weights of a layer from which on WideLinear is faster


class WideLinear(th.nn.Linear):
    """A linear layer that multiplies from the left: its product is split among CPU threads.

    PyTorch's own product of a small batch with a wide layer hardly uses a second thread.
    """

    def forward(self, features: th.Tensor) -> th.Tensor:
        """(B, in_features) to (B, out_features)."""
        return (self.weight @ features.t()).t() + self.bias


def speed_up(policy: th.nn.Module, device: th.device) -> None:
    """Lay a policy's networks out for convolutions, and its wide layers for threads on a CPU."""
    policy.to(memory_format=th.channels_last)  # type: ignore[call-overload]  # torch's stub
    for module in policy.modules():
        if isinstance(module, NatureCNN):  # in which nobody needs what goes into a ReLU
            for layer in [*module.cnn, *module.linear]:
                if isinstance(layer, th.nn.ReLU):
                    layer.inplace = True
    if device.type == "cpu":
        for module in policy.modules():
            if type(module) is th.nn.Linear and module.weight.numel() >= WIDE:
                module.__class__ = WideLinear


def set_up_optimizer(optimizer: Optimizer, device: th.device, captured: bool) -> None:
    """Fused where it can be; for a graph, all that changes between steps is on the device.

    A fused step walks through the memory of a weight and of its averages side by side, so they must
    be laid out alike, which those that were loaded are not.
    """
    for group in optimizer.param_groups:
        if group.get("fused", False) is None and not group["foreach"]:
            group["fused"] = True
        if captured:
            group["capturable"] = True
            group["lr"] = th.as_tensor(group["lr"], dtype=th.float32, device=device)
    on_device = captured or any(group.get("fused") for group in optimizer.param_groups)
    # The first steps of a graph are made eagerly, of which PyTorch would warn.
    optimizer._warned_capturable_if_run_uncaptured = True
    for weight, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, th.Tensor) and value.shape == weight.shape:
                state[key] = th.empty_like(weight).copy_(value)
            elif isinstance(value, th.Tensor) and on_device:
                state[key] = value.to(device)  # the number of steps


def unused_adam(optimizer: Optimizer) -> dict[str, Any]:
    """The state of an Adam that has made no step, for the same parameters."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return th.optim.Adam(parameters, lr=float(optimizer.param_groups[0]["lr"])).state_dict()


def plain_state(optimizer: Optimizer) -> dict[str, Any]:
    """The state of an optimizer as one that was never set up for speed has it."""
    state = optimizer.state_dict()
    flags = {k: v for k, v in optimizer.defaults.items() if k in ("fused", "capturable")}
    groups = [{**g, **flags, "lr": float(g["lr"])} for g in state["param_groups"]]
    return {
        "state": {weight: _plain(values) for weight, values in state["state"].items()},
        "param_groups": groups,
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Averages in PyTorch's usual layout, the number of steps where it usually is."""
    tensors = {k: v.contiguous() for k, v in values.items() if isinstance(v, th.Tensor)}
    if "step" in tensors:
        tensors["step"] = tensors["step"].cpu()
    return {**values, **tensors}
