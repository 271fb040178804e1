"""Targets and losses of DQN, of action values, quantiles and atoms: functions of tensors.

`Loss` puts the functions together as a learner's options say. To it an action value is a
distribution of one number, so that an option works for all three.

Shapes: B transitions, A actions, N quantiles or atoms; `actions` are (B, 1), int64. Time as in
rlax: ``tm1`` is the step that is learnt from, ``t`` the one after it (`n_steps` later). Losses are
one number per transition, so that prioritized replay can weigh them. Call targets without gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch as th
from torch.nn import functional

from custom.policies import Distribution
from custom.replay.buffer import Batch

Network = Callable[[th.Tensor], th.Tensor]  # observations to outputs: (B, A) or (B, N * A)
Losses = tuple[th.Tensor, th.Tensor]  # losses (B, 1), and errors (B,) without gradient


@dataclass(frozen=True)
class Loss:
    """What the online network should output, and how far from it its outputs are.

    :param kind: ``huber`` or ``mse`` of the TD error; distributions have their own losses
    :param gamma: discount per step, for batches without `discounts`
    :param double_q: the online network chooses the next action, else the target network
    :param munchausen_alpha: as of `AtariDQN`, as are `munchausen_temperature` and `munchausen_clip`
    :param distribution: the network's last layer; None: it outputs action values
    :raises ValueError: options that exclude each other
    """

    kind: str = "huber"
    gamma: float = 0.99
    double_q: bool = False
    munchausen_alpha: float = 0.0
    munchausen_temperature: float = 0.03
    munchausen_clip: float = -1.0
    distribution: Distribution | None = None

    def __post_init__(self) -> None:
        if self.munchausen_alpha and self.double_q:
            raise ValueError(
                "munchausen_alpha has no argmax for double_q to change; delete double_q"
            )
        if self.munchausen_alpha and self._atoms is not None:
            raise ValueError("munchausen_alpha is not for n_atoms; write n_quantiles instead")
        if self.kind != "huber" and self.distribution is not None:
            raise ValueError(
                f"loss {self.kind} is for action values, not for distributions; delete it"
            )

    @property
    def _atoms(self) -> th.Tensor | None:
        return None if self.distribution is None else self.distribution.atoms

    def _values(self, outputs: th.Tensor) -> th.Tensor:
        """Action values, (B, A)."""
        return outputs if self.distribution is None else self.distribution(outputs)

    def _distributions(self, outputs: th.Tensor) -> th.Tensor:
        """(B, N, A); of atoms, logarithms of probabilities; of action values, N is 1."""
        if self.distribution is None:
            return outputs[:, None]
        return self.distribution.distributions(outputs)

    def target(self, batch: Batch, online: Network, target: Network) -> th.Tensor:
        """What the online network should output for the actions taken: (B, N).

        :param batch: its observations as the networks take them
        """
        outputs_t, atoms, rewards = target(batch.next_observations), self._atoms, batch.rewards
        z_t = self._distributions(outputs_t)
        if atoms is not None:
            z_t = z_t.softmax(dim=1)
        if self.munchausen_alpha:
            q_tm1 = self._values(target(batch.observations))
            constants = self.munchausen_alpha, self.munchausen_temperature, self.munchausen_clip
            rewards = rewards + munchausen_bonus(q_tm1, batch.actions, *constants)
            z_t = soft_value(z_t, self._values(outputs_t), self.munchausen_temperature)
        else:
            chooser = online(batch.next_observations) if self.double_q else outputs_t
            z_t = of_actions(z_t, self._values(chooser).argmax(dim=1, keepdim=True))
        discount = self.gamma if batch.discounts is None else batch.discounts
        if atoms is None:
            return bellman(rewards, batch.dones, z_t, discount)
        return project(z_t, bellman(rewards, batch.dones, atoms[None], discount), atoms)

    def __call__(self, outputs_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Losses:
        """Losses, and the errors that priorities are made of.

        The error is the TD error of an action value (Schaul et al. 2016), else the loss: the KL
        divergence for atoms (Hessel et al. 2018).
        """
        prediction = of_actions(self._distributions(outputs_tm1), actions)
        if self.distribution is None:
            errors = target - prediction.detach()
            return td_loss(prediction, target, self.kind), errors.flatten()
        loss = quantile_loss if self._atoms is None else categorical_loss
        losses = loss(prediction, target)
        return losses, losses.detach().flatten()


def bellman(
    rewards: th.Tensor, dones: th.Tensor, z_t: th.Tensor, discount: float | th.Tensor
) -> th.Tensor:
    """Target of Q-learning (Mnih et al. 2015, eq. 2), of each number of a distribution.

    :param rewards: (B, 1), clipped, of one step or the discounted sum of n steps
    :param dones: (B, 1), 1 where the episode ended
    :param z_t: value or quantiles (Dabney et al. 2018, algorithm 1) of the next action, (B, N); or
        atoms, (1, N)
    :param discount: of the next state's value: gamma, or gamma^n as (B, 1)
    :return: (B, N)
    """
    return rewards + (1 - dones) * discount * z_t


def of_actions(distributions: th.Tensor, actions: th.Tensor) -> th.Tensor:
    """Select the distribution of one action per transition: (B, N, A) to (B, N)."""
    index = actions[:, None, :].expand(-1, distributions.shape[1], 1)
    return distributions.gather(2, index).squeeze(2)


def munchausen_bonus(
    q_tm1: th.Tensor, actions: th.Tensor, alpha: float, temperature: float, clip: float
) -> th.Tensor:
    """The scaled log-policy that Munchausen-DQN adds to the reward (Vieillard et al. 2020, eq. 2).

    ``alpha * [tau ln pi]``, clipped to [`clip`, 0] (their section 3); pi is the softmax of the
    target network's values over the temperature tau.

    :param q_tm1: (B, A) of the target network
    :param clip: their l_0, at most 0
    :return: (B, 1), at most 0
    """
    log_policy = functional.log_softmax(q_tm1 / temperature, dim=1).gather(1, actions)
    return alpha * (temperature * log_policy).clamp(clip, 0)


def soft_value(z_t: th.Tensor, q_t: th.Tensor, temperature: float) -> th.Tensor:
    """The soft value of the next state, for Munchausen (Vieillard et al. 2020, eq. 1).

    The sum over actions of ``pi (z - tau ln pi)``; for quantiles that of Munchausen-IQN (eq. 5).

    :param z_t: (B, N, A) of the target network
    :param q_t: (B, A), their means, whose softmax is the policy pi
    :return: (B, N)
    """
    log_policy = functional.log_softmax(q_t / temperature, dim=1)[:, None, :]
    return (log_policy.exp() * (z_t - temperature * log_policy)).sum(dim=2)


def td_loss(taken: th.Tensor, target: th.Tensor, kind: str) -> th.Tensor:
    """Loss of the TD error, ``target - taken``, each (B, 1).

    :param kind: ``huber``, whose gradient is the TD error clipped to [-1, 1], or ``mse``
    :return: (B, 1)
    """
    function = functional.smooth_l1_loss if kind == "huber" else functional.mse_loss
    return function(taken, target, reduction="none")


def quantile_loss(quantiles: th.Tensor, targets: th.Tensor) -> th.Tensor:
    """Quantile Huber loss with kappa 1 (Dabney et al. 2018, eq. 10).

    :param quantiles: (B, N), estimates at the quantile midpoints (i + 0.5) / N
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
    """Project a distribution on shifted atoms to the fixed ones (Bellemare et al. 2017, eq. 7).

    :param probabilities: (B, N), of `positions`
    :param positions: (B, N), each atom after the Bellman update
    :param atoms: (N,), equally spaced
    :return: (B, N)
    """
    spacing = atoms[1] - atoms[0]
    distance = (positions.clamp(atoms[0], atoms[-1])[:, None, :] - atoms[None, :, None]).abs()
    return ((1 - distance / spacing).clamp(min=0) * probabilities[:, None, :]).sum(dim=2)


def categorical_loss(logits: th.Tensor, target: th.Tensor) -> th.Tensor:
    """KL divergence of the target from the network's probabilities, KL(target, network).

    Its gradient is that of the cross entropy (Bellemare et al. 2017, algorithm 1). It is 0 where
    they are equal, so it can be the priority (Hessel et al. 2018).

    :param logits: (B, N)
    :param target: (B, N) probabilities
    :return: (B, 1)
    """
    log_network = functional.log_softmax(logits, dim=1)
    return (th.xlogy(target, target) - target * log_network).sum(dim=1, keepdim=True)
