"""Memory layout of inputs, networks and optimizers, chosen for speed.

Results differ from SB3's by the rounding of float32 only. Saved agents have SB3's layout.
"""

from typing import Any

import cv2
import numpy as np
import torch as th
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.dqn.policies import QNetwork
from torch.optim import Optimizer

WIDE = 2**18  # number of weights from which WideLinear is faster than Linear


class Inputs:
    """Batches of observations divided by 255, in channels_last buffers that are reused.

    :param batch_size: observations in a batch
    :param buffers: number of batches in use at once; each has a buffer
    """

    def __init__(self, network: QNetwork, batch_size: int, buffers: int) -> None:
        self._divisor = 255 if network.normalize_images else 1
        space, device = network.observation_space, network.device
        shape = (batch_size, *space.shape)  # type: ignore[misc]  # a Box has a shape

        def empty(kind: th.dtype) -> th.Tensor:
            return th.empty(shape, dtype=kind, device=device, memory_format=th.channels_last)

        self._buffers = [empty(th.float32) for _ in range(buffers)]
        # On a CPU, OpenCV interleaves channels faster than PyTorch.
        use_opencv = device.type == "cpu" and space.dtype == np.uint8
        self._bytes = empty(th.uint8) if use_opencv else None

    def scale(self, observations: th.Tensor, buffer: int = 0) -> th.Tensor:
        """Scale observations, (B, channels, height, width), to [0, 1].

        :param buffer: index of the buffer to write into, which is returned
        """
        scaled = self._buffers[buffer]
        if self._bytes is None:
            return th.div(observations, self._divisor, out=scaled)
        pixels = self._bytes.permute(0, 2, 3, 1).numpy()
        for planes, interleaved in zip(observations.numpy(), pixels, strict=True):
            cv2.merge(list(planes), dst=interleaved)
        return scaled.copy_(self._bytes).div_(self._divisor)


class WideLinear(th.nn.Linear):
    """A linear layer that computes ``(W x^T)^T``, which several CPU threads share.

    PyTorch's ``x W^T`` hardly uses a second thread if the batch is small and the layer is wide.
    """

    def forward(self, features: th.Tensor) -> th.Tensor:
        """(B, in_features) to (B, out_features)."""
        if features.dim() != 2 or self.bias is None:
            return super().forward(features)
        return (self.weight @ features.t()).t() + self.bias


def speed_up(policy: th.nn.Module, device: th.device) -> None:
    """Make a policy's networks faster: channels_last, NatureCNN's ReLU in place, `WideLinear`.

    :param device: of the networks; `WideLinear` is for a CPU only
    """
    policy.to(memory_format=th.channels_last)  # type: ignore[call-overload]  # torch's stub
    for module in list(policy.modules()):
        if isinstance(module, NatureCNN):
            for layer in [*module.cnn, *module.linear]:
                if isinstance(layer, th.nn.ReLU):
                    layer.inplace = True
        if device.type == "cpu" and type(module) is th.nn.Linear and module.weight.numel() >= WIDE:
            module.__class__ = WideLinear  # weights and hooks stay


def set_up_optimizer(optimizer: Optimizer, device: th.device, captured: bool) -> None:
    """Use PyTorch's fused implementation if the optimizer has one.

    :param captured: the optimizer's step becomes part of a CUDA graph: values that change between
        steps move to the device
    """
    for group in optimizer.param_groups:
        if group.get("fused", False) is None and not group["foreach"]:
            group["fused"] = True
        if captured:
            group["capturable"] = True
            group["lr"] = th.as_tensor(group["lr"], dtype=th.float32, device=device)
    on_device = captured or any(group.get("fused") for group in optimizer.param_groups)
    # No warning from PyTorch about the eager steps before the capture.
    optimizer._warned_capturable_if_run_uncaptured = True
    for weight, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, th.Tensor) and value.shape == weight.shape:
                # A fused step needs averages in their weight's layout; loaded ones have another.
                state[key] = th.empty_like(weight).copy_(value)
            elif isinstance(value, th.Tensor) and on_device:
                state[key] = value.to(device)  # the number of steps


def plain_state(optimizer: Optimizer) -> dict[str, Any]:
    """State dict of an optimizer as it would be without `set_up_optimizer`."""
    state = optimizer.state_dict()
    flags = {k: v for k, v in optimizer.defaults.items() if k in ("fused", "capturable")}
    groups = [{**g, **flags, "lr": float(g["lr"])} for g in state["param_groups"]]
    weights = {weight: _plain(values) for weight, values in state["state"].items()}
    return {"state": weights, "param_groups": groups}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    tensors = {k: v.contiguous() for k, v in values.items() if isinstance(v, th.Tensor)}
    if "step" in tensors:
        tensors["step"] = tensors["step"].cpu()
    return {**values, **tensors}
