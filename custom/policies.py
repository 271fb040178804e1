"""A policy for `AtariDQN` with other heads than SB3's: dueling, noisy, distributional.

It is SB3's `CnnPolicy` where every option is off. All of them combine.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.dqn.policies import CnnPolicy, QNetwork
from torch import nn
from torch.nn import functional

SIGMA = 0.5  # of noisy layers: the paper's sigma_0


class NoisyLinear(nn.Linear):
    """A linear layer with factorised noise on weights and biases (Fortunato et al. 2018).

    There is noise in training mode, none in evaluation mode. `weight` and `bias` are the
    means; the noise itself is no state of the agent.

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
    """Noise is on inside the `with` block, and off after it."""
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


class DuelingHead(nn.Module):
    """``V + A - mean A`` (Wang et al. 2016, eq. 9), of each quantile or atom.

    :param outputs: numbers for each action
    :param net_arch: hidden layers of both streams, of the same sizes
    """

    def __init__(
        self,
        features_dim: int,
        n_actions: int,
        outputs: int,
        net_arch: list[int],
        activation_fn: type[nn.Module],
    ) -> None:
        super().__init__()
        self.n_actions = n_actions
        self.value = nn.Sequential(*create_mlp(features_dim, outputs, net_arch, activation_fn))
        width = outputs * n_actions
        self.advantage = nn.Sequential(*create_mlp(features_dim, width, net_arch, activation_fn))

    def forward(self, features: th.Tensor) -> th.Tensor:
        """(B, features_dim) to (B, outputs * n_actions), the actions innermost."""
        value: th.Tensor = self.value(features)[:, :, None]
        advantage = self.advantage(features).reshape(*value.shape[:2], self.n_actions)
        q: th.Tensor = value + advantage - advantage.mean(dim=2, keepdim=True)
        return q.flatten(1)


class Distribution(nn.Module):
    """Outputs of a head as distributions of the return, of which it makes action values.

    :param atoms: (N,), the returns whose probabilities a head outputs; None: it outputs quantiles
    """

    atoms: th.Tensor | None

    def __init__(self, n_actions: int, atoms: th.Tensor | None = None) -> None:
        super().__init__()
        self.n_actions = n_actions
        self.register_buffer("atoms", atoms, persistent=False)

    def distributions(self, outputs: th.Tensor) -> th.Tensor:
        """(B, N * A) to (B, N, A): quantiles, or unnormalized log-probabilities of the atoms."""
        return outputs.reshape(outputs.shape[0], -1, self.n_actions)

    def forward(self, outputs: th.Tensor) -> th.Tensor:
        """(B, N * A) to (B, A): the mean of the quantiles, or the expectation over the atoms."""
        z = self.distributions(outputs)
        if self.atoms is None:
            return z.mean(dim=1)
        return (z.softmax(dim=1) * self.atoms[:, None]).sum(dim=1)


class AtariPolicy(CnnPolicy):
    """`CnnPolicy` with options.

    :param net_arch: hidden layers behind the features extractor; none, if nothing is said
    :param dueling: value and advantages apart; `net_arch` are the hidden layers of each. With a
        features extractor of no dense layer and ``net_arch: [512]`` it is Wang et al.'s network
    :param noisy: noise on all linear layers, those of the features extractor too
    :param sigma: of the noise at the start
    :param n_quantiles: of the return of each action (QR-DQN: 200); 0 for its expectation only
    :param n_atoms: of the return of each action (C51: 51); 0 for its expectation only
    :param v_max: the atoms reach from -v_max to v_max (C51: 10)
    :raises ValueError: quantiles and atoms
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Any,
        net_arch: list[int] | None = None,
        *args: Any,
        dueling: bool = False,
        noisy: bool = False,
        sigma: float = SIGMA,
        n_quantiles: int = 0,
        n_atoms: int = 0,
        v_max: float = 10.0,
        **kwargs: Any,
    ) -> None:
        if n_quantiles and n_atoms:
            raise ValueError("a return has n_quantiles or n_atoms, not both; delete one")
        self.head: dict[str, Any] = {
            "dueling": dueling,
            "noisy": noisy,
            "sigma": sigma,
            "n_quantiles": n_quantiles,
            "n_atoms": n_atoms,
            "v_max": v_max,
        }
        layers = net_arch or []  # SB3: 64 and 64, unless the features extractor is NatureCNN
        super().__init__(observation_space, action_space, lr_schedule, layers, *args, **kwargs)

    def make_q_net(self) -> QNetwork:
        """SB3's network with another `q_net`: the head, and what makes values of its outputs."""
        network, head = super().make_q_net(), self.head
        n_actions, n_atoms = int(network.action_space.n), head["n_atoms"]
        outputs = head["n_quantiles"] or n_atoms or 1
        layers = network.net_arch, network.activation_fn
        if head["dueling"]:
            first: nn.Module = DuelingHead(network.features_dim, n_actions, outputs, *layers)
        else:
            width = outputs * n_actions
            first = nn.Sequential(*create_mlp(network.features_dim, width, *layers))
        last: nn.Module = nn.Identity()
        if head["n_quantiles"] or n_atoms:
            atoms = th.linspace(-head["v_max"], head["v_max"], n_atoms) if n_atoms else None
            last = Distribution(n_actions, atoms)
        network.q_net = nn.Sequential(first, last)
        if head["noisy"]:
            make_noisy(network, head["sigma"])
        return network.to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self.head}
