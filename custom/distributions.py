"""Values as distributions of the return: quantiles (QR-DQN) and fixed atoms (C51)."""

from __future__ import annotations

import torch as th
from torch.nn import functional

from custom.targets import Discount


def of_actions(outputs: th.Tensor, actions: th.Tensor) -> th.Tensor:
    """The distributions of chosen actions.

    :param outputs: (B, N, A)
    :param actions: (B, 1), int64
    :return: (B, N)
    """
    index = actions[:, None, :].expand(-1, outputs.shape[1], 1)
    return outputs.gather(2, index).squeeze(2)


def target_quantiles(
    rewards: th.Tensor, dones: th.Tensor, quantiles: th.Tensor, discount: Discount
) -> th.Tensor:
    """Bellman's update of each quantile (Dabney et al. 2018, algorithm 1).

    :param rewards: (B, 1)
    :param dones: (B, 1)
    :param quantiles: (B, N) of the next state's action
    :return: (B, N)
    """
    return rewards + (1 - dones) * discount * quantiles


def soft_quantiles(quantiles: th.Tensor, q_t: th.Tensor, temperature: float) -> th.Tensor:
    """Quantiles of the next state under the softmax policy, with its entropy (M-IQN).

    Vieillard et al. 2020, eq. 5: each quantile is the sum of ``pi (z - tau ln pi)`` over actions.

    :param quantiles: (B, N, A)
    :param q_t: (B, A), their means, of which the policy is made
    :return: (B, N)
    """
    log_policy = functional.log_softmax(q_t / temperature, dim=1)[:, None, :]
    return (log_policy.exp() * (quantiles - temperature * log_policy)).sum(dim=2)


def quantile_loss(quantiles: th.Tensor, targets: th.Tensor) -> th.Tensor:
    """Quantile Huber loss (Dabney et al. 2018, eq. 10; kappa 1).

    :param quantiles: (B, N), at the midpoints (i + 0.5) / N
    :param targets: (B, M)
    :return: (B, 1): the sum over quantiles of the mean over targets
    """
    n = quantiles.shape[1]
    midpoints = (th.arange(n, device=quantiles.device) + 0.5) / n
    error = targets[:, None, :] - quantiles[:, :, None]  # (B, N, M)
    huber = th.where(error.abs() <= 1, 0.5 * error**2, error.abs() - 0.5)
    weight = (midpoints[None, :, None] - (error.detach() < 0).float()).abs()
    return (weight * huber).mean(dim=2).sum(dim=1, keepdim=True)


def project(probabilities: th.Tensor, positions: th.Tensor, atoms: th.Tensor) -> th.Tensor:
    """A distribution on shifted atoms, moved to the fixed ones (Bellemare et al. 2017, eq. 7).

    :param probabilities: (B, N)
    :param positions: (B, N), where they are after Bellman's update
    :param atoms: (N,), equally spaced
    :return: (B, N)
    """
    spacing = atoms[1] - atoms[0]
    distance = (positions.clamp(atoms[0], atoms[-1])[:, None, :] - atoms[None, :, None]).abs()
    return ((1 - distance / spacing).clamp(min=0) * probabilities[:, None, :]).sum(dim=2)


def categorical_loss(logits: th.Tensor, target: th.Tensor) -> th.Tensor:
    """Divergence of the network's probabilities from the target's, KL(target, network).

    Its gradient is that of the cross entropy (Bellemare et al. 2017, algorithm 1), and where they
    are equal it is 0, as the priorities of Hessel et al. 2018 need it.

    :param logits: (B, N)
    :param target: (B, N), probabilities, without gradient
    :return: (B, 1)
    """
    log_network = functional.log_softmax(logits, dim=1)
    return (th.xlogy(target, target) - target * log_network).sum(dim=1, keepdim=True)
