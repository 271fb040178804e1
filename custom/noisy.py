"""Exploration by noise on the weights (Fortunato et al. 2018), factorised."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch as th
from torch import nn
from torch.nn import functional

SIGMA = 0.5  # the paper's sigma_0


class NoisyLinear(nn.Linear):
    """A linear layer with noise on weights and biases in training mode, none in evaluation mode.

    `weight` and `bias` are the means; the noise itself is no state of the agent.

    :param sigma: sigma_0: the noise starts at sigma_0 / sqrt(in_features)
    """

    noise_in: th.Tensor
    noise_out: th.Tensor

    def __init__(self, in_features: int, out_features: int, sigma: float = SIGMA) -> None:
        super().__init__(in_features, out_features)
        bound = 1 / math.sqrt(in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        self.weight_sigma = nn.Parameter(th.full_like(self.weight, sigma * bound))
        self.bias_sigma = nn.Parameter(th.full_like(self.bias, sigma * bound))
        self.register_buffer("noise_in", th.zeros(in_features), persistent=False)
        self.register_buffer("noise_out", th.zeros(out_features), persistent=False)

    def draw(self) -> None:
        """New noise: the outer product of two vectors of sgn(x) sqrt(|x|), x from N(0, 1)."""
        for noise in (self.noise_in, self.noise_out):
            noise.normal_()
            noise.copy_(noise.sign() * noise.abs().sqrt())

    def forward(self, features: th.Tensor) -> th.Tensor:
        """(B, in_features) to (B, out_features)."""
        means = functional.linear(features, self.weight, self.bias)
        if not self.training:
            return means
        # (sigma * outer(out, in)) x is out * (sigma (in * x)): no noisy weights need to be made.
        inner = functional.linear(features * self.noise_in, self.weight_sigma, self.bias_sigma)
        return means + self.noise_out * inner


def make_noisy(module: nn.Module, sigma: float) -> None:
    """Replace every linear layer within a module."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, NoisyLinear(child.in_features, child.out_features, sigma))
        else:
            make_noisy(child, sigma)


def noisy_layers(module: nn.Module) -> list[NoisyLinear]:
    """Those within a module."""
    return [layer for layer in module.modules() if isinstance(layer, NoisyLinear)]


def draw_noise(layers: list[NoisyLinear]) -> None:
    """New noise for each."""
    for layer in layers:
        layer.draw()


@contextmanager
def noise_in(layers: list[NoisyLinear]) -> Iterator[None]:
    """Layers have noise in here and none behind it."""
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
