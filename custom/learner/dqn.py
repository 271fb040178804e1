"""The learners: SB3's DQN, faster and with extensions from later papers, and sb3-contrib's QR-DQN.

With every option off, the algorithms are theirs, in another memory layout and in fewer calls. One
difference: epsilon-greedy exploration is sampled per environment.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from sb3_contrib import QRDQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.dqn.dqn import DQN
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork

from custom.learner.layout import set_up_optimizer, speed_up
from custom.learner.nan_guard import check_finite
from custom.learner.off_policy import AtariOffPolicy
from custom.learner.targets import Loss
from custom.learner.update import Actor, Update, can_be_captured
from custom.policies import Distribution, noisy_layers
from custom.replay.prioritized import PrioritizedFrameReplayBuffer

LOSS_EVERY = 100  # updates between readings of the loss on a GPU, each of which waits for it
Array = npt.NDArray[Any]


class AtariDQN(AtariOffPolicy, DQN):
    """DQN on Atari (Mnih et al. 2015), with the arguments of SB3's DQN and of `AtariOffPolicy`.

    With one environment, no option and ``engine=Engine(update="sb3", buffer="sb3")`` it computes
    what SB3's does, bit for bit.

    :param double_q: the online network chooses the next action (van Hasselt et al. 2016)
    :param loss: ``huber`` or ``mse`` of the TD error; distributions have their own losses
    :param munchausen_alpha: scale of the log-policy that is added to the reward; 0: plain DQN
    :param munchausen_temperature: of the softmax policy, above 0
    :param munchausen_clip: lower bound of temperature times log-policy, at most 0
    :param exploration_decay: per step; above 0, epsilon is
        ``final + (initial - final) * exp(-exploration_decay * steps)``, whatever the budget; 0:
        SB3's linear schedule
    :raises ValueError: options that exclude each other, or a policy with its own `forward`,
        `extract_features` or `_predict`
    :raises NonFiniteError: from `learn`, before a NaN or infinity reaches the weights; on a GPU up
        to `LOSS_EVERY` updates later
    """

    def __init__(
        self,
        *args: Any,
        double_q: bool = False,
        loss: str = "huber",
        munchausen_alpha: float = 0.0,
        munchausen_temperature: float = 0.03,
        munchausen_clip: float = -1.0,
        exploration_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.double_q, self.loss = double_q, loss
        self.munchausen_alpha, self.munchausen_clip = munchausen_alpha, munchausen_clip
        self.munchausen_temperature = munchausen_temperature
        self.exploration_decay = exploration_decay
        self._update: Update | None = None
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self._speed_up()

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        """As SB3's; makes a new `Update`, because the replay buffer may have been replaced."""
        self._update = None
        return super()._setup_learn(*args, **kwargs)

    def _speed_up(self) -> None:
        """Lay out networks and optimizer for speed; call it when either was replaced."""
        self._update = None
        self._loss()  # refuses options that exclude each other, before any training
        for part, base, name in (
            (self.q_net, QNetwork, "forward"),
            (self.q_net, QNetwork, "extract_features"),
            (self.policy, DQNPolicy, "_predict"),
        ):
            if getattr(type(part), name) is not getattr(base, name):
                raise ValueError(f"policy: its own {name} is not called; move it into q_net")
        is_fast = self.engine.update == "fast"
        if is_fast:
            speed_up(self.policy, self.device)
            captured = can_be_captured(self.policy, self.replay_buffer)
            set_up_optimizer(self.policy.optimizer, self.device, captured)
        acts = is_fast or noisy_layers(self.q_net)
        self._actor = Actor(self.q_net, self.n_envs) if acts else None

    def _loss(self) -> Loss:
        last_layer = list(self.q_net.q_net)[-1]
        return Loss(
            kind=self.loss,
            gamma=self.gamma,
            double_q=self.double_q,
            munchausen_alpha=self.munchausen_alpha,
            munchausen_temperature=self.munchausen_temperature,
            munchausen_clip=self.munchausen_clip,
            distribution=last_layer if isinstance(last_layer, Distribution) else None,
        )

    def _on_step(self) -> None:
        super()._on_step()
        if self.exploration_decay:
            initial, final = self.exploration_initial_eps, self.exploration_final_eps
            decay = math.exp(-self.exploration_decay * self.num_timesteps)
            self.exploration_rate = final + (initial - final) * decay
            self.logger.record("rollout/exploration_rate", self.exploration_rate)

    def _greedy(self, observation: Array) -> Array:
        """As the policy's; faster and with noise for one observation per environment."""
        shape = (self.n_envs, *(self.observation_space.shape or ()))
        if self._actor is None or np.shape(observation) != shape:
            return super()._greedy(observation)
        return self._actor(observation)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Make gradient steps; log their loss, on a GPU every `LOSS_EVERY` updates."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        if isinstance(self.replay_buffer, PrioritizedFrameReplayBuffer):
            self.replay_buffer.anneal(1 - self._current_progress_remaining)
        if self._update is None:
            self._update = self.make_update(batch_size)
            if self.engine.update == "fast" and can_be_captured(self.policy, self.replay_buffer):
                self._update.capture()
        self._update(gradient_steps)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if self.device.type == "cpu" or self._n_updates % LOSS_EVERY < gradient_steps:
            loss, norm = self._update.mean_loss_and_norm()
            check_finite(self.policy, self.num_timesteps, loss)
            self.logger.record("train/loss", loss)
            self.logger.record("train/gradient_norm", norm)

    def make_update(self, batch_size: int) -> Update:
        """Gradient steps of this learner's networks, replay buffer and options."""
        assert self.replay_buffer is not None
        return Update(
            self.policy,
            self.replay_buffer,
            self._loss(),
            self.engine,
            batch_size,
            self.max_grad_norm,
            lambda: self.num_timesteps,
        )

    def _update_learning_rate(self, optimizers: Any) -> None:
        """As SB3's; a rate that is a tensor is set in place, because a CUDA graph reads it."""
        before = [group["lr"] for group in optimizers.param_groups]
        super()._update_learning_rate(optimizers)
        for group, rate in zip(optimizers.param_groups, before, strict=True):
            if isinstance(rate, th.Tensor):
                group["lr"] = rate.fill_(group["lr"])

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """As `AtariOffPolicy`'s, then lay the parameters out for speed."""
        super().set_parameters(load_path_or_dict, exact_match, device)
        self._speed_up()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_update", "_actor"]


class AtariQRDQN(AtariOffPolicy, QRDQN):
    """QR-DQN (Dabney et al. 2018), with the arguments of sb3-contrib's and of `AtariOffPolicy`.

    :raises ValueError: `prioritized_replay` is set
    :raises NonFiniteError: from `learn`, once a loss is NaN or infinite
    """

    def _setup_model(self) -> None:
        if self.prioritized_replay is not None:
            raise ValueError("prioritized_replay needs algo: dqn; there, set n_quantiles")
        super()._setup_model()

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """As sb3-contrib's, then check the loss."""
        super().train(gradient_steps, batch_size)
        loss = float(self.logger.name_to_value["train/loss"])
        check_finite(self.policy, self.num_timesteps, loss)
