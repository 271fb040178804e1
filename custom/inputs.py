"""Observations as networks take them: divided by 255, channels side by side."""

from __future__ import annotations

import cv2
import numpy as np
import torch as th
from stable_baselines3.dqn.policies import QNetwork

MOST_CHANNELS = 128  # that OpenCV merges


class Inputs:
    """Batches of observations, divided by 255 into memory that is used again.

    :param copies: how many batches exist at once
    :param dtype: of what comes out
    """

    def __init__(
        self, network: QNetwork, batch_size: int, copies: int, dtype: th.dtype = th.float32
    ) -> None:
        self._divisor = 255 if network.normalize_images else 1
        space, device = network.observation_space, network.device
        shape = (batch_size, *space.shape)  # type: ignore[misc]  # a Box has a shape

        def empty(kind: th.dtype) -> th.Tensor:
            return th.empty(shape, dtype=kind, device=device, memory_format=th.channels_last)

        self._buffers = [empty(dtype) for _ in range(copies)]
        # On a CPU most of the time would go into bringing the channels side by side.
        few = shape[1] <= MOST_CHANNELS
        by_opencv = device.type == "cpu" and space.dtype == np.uint8 and few
        self._bytes, self._pixels = empty(th.uint8) if by_opencv else None, []
        if self._bytes is not None:
            self._pixels = list(self._bytes.permute(0, 2, 3, 1).numpy())

    def scale(self, observations: th.Tensor, copy: int = 0) -> th.Tensor:
        """uint8 to [0, 1]; (B, channels, height, width)."""
        if self._bytes is None:
            return th.div(observations, self._divisor, out=self._buffers[copy])
        for planes, pixels in zip(observations.numpy(), self._pixels, strict=True):
            cv2.merge(list(planes), dst=pixels)
        return self._buffers[copy].copy_(self._bytes).div_(self._divisor)
