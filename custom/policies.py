"""A policy for `AtariDQN` with other heads than SB3's: dueling, noisy, distributional.

It is SB3's `CnnPolicy` where every option is off. All of them combine.
"""

from __future__ import annotations

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.dqn.policies import CnnPolicy, QNetwork
from torch import nn

from custom.noisy import SIGMA, make_noisy


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
    """Outputs of a head as distributions of the return, of which action values are made."""

    def __init__(self, n_actions: int) -> None:
        super().__init__()
        self.n_actions = n_actions

    def distributions(self, outputs: th.Tensor) -> th.Tensor:
        """(B, N * A) to (B, N, A)."""
        return outputs.reshape(len(outputs), -1, self.n_actions)


class Quantiles(Distribution):
    """Action values as means of quantiles: (B, N * A) to (B, A)."""

    def forward(self, outputs: th.Tensor) -> th.Tensor:
        """Mean over the quantiles."""
        return self.distributions(outputs).mean(dim=1)


class Categorical(Distribution):
    """Action values as expectations over fixed atoms: (B, N * A) to (B, A)."""

    atoms: th.Tensor

    def __init__(self, n_actions: int, n_atoms: int, v_max: float) -> None:
        super().__init__(n_actions)
        self.register_buffer("atoms", th.linspace(-v_max, v_max, n_atoms), persistent=False)

    def forward(self, outputs: th.Tensor) -> th.Tensor:
        """Sum of atoms times probabilities."""
        probabilities = self.distributions(outputs).softmax(dim=1)
        return (probabilities * self.atoms[:, None]).sum(dim=1)


class AtariQNetwork(QNetwork):
    """SB3's network of action values, whose last layers are chosen.

    ``q_net`` is a sequence of two: the head, and what makes action values of its outputs.
    """

    def __init__(self, *args: Any, head: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head = head
        n_actions = int(self.action_space.n)
        outputs = head["n_quantiles"] or head["n_atoms"] or 1
        sizes = self.features_dim, n_actions, outputs, self.net_arch, self.activation_fn
        if head["dueling"]:
            first: nn.Module = DuelingHead(*sizes)
        else:
            width = outputs * n_actions
            layers = create_mlp(self.features_dim, width, self.net_arch, self.activation_fn)
            first = nn.Sequential(*layers)
        last: nn.Module = nn.Identity()
        if head["n_quantiles"]:
            last = Quantiles(n_actions)
        elif head["n_atoms"]:
            last = Categorical(n_actions, outputs, head["v_max"])
        self.q_net = nn.Sequential(first, last)
        if head["noisy"]:
            make_noisy(self, head["sigma"])

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "head": self.head}


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
        self.head = {
            "dueling": dueling,
            "noisy": noisy,
            "sigma": sigma,
            "n_quantiles": n_quantiles,
            "n_atoms": n_atoms,
            "v_max": v_max,
        }
        layers = net_arch or []  # SB3: 64 and 64, unless the features extractor is NatureCNN
        super().__init__(observation_space, action_space, lr_schedule, layers, *args, **kwargs)

    def make_q_net(self) -> AtariQNetwork:
        """A network with a features extractor of its own."""
        net_args = self._update_features_extractor(self.net_args, features_extractor=None)
        return AtariQNetwork(**net_args, head=self.head).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self.head}
