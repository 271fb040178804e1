"""SB3's DQN, faster, and with the options of the papers that followed.

With every option off it is the same algorithm on other memory and in fewer calls. It differs in one
thing from SB3's: each of several environments explores by a coin of its own, where SB3 tosses one
for all. What it saves is an agent of SB3's own `DQN`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.dqn.dqn import DQN

from custom.layout import set_up_optimizer, speed_up
from custom.native_env import AtariVectorEnv
from custom.noisy import noisy_layers
from custom.off_policy import AtariOffPolicy
from custom.policies import Distribution
from custom.prioritized import PrioritizedFrameReplayBuffer
from custom.rules import Rule
from custom.update import Actor, Update, can_be_captured, takes_scaled

HAVE_MODES = (th.nn.modules.dropout._DropoutNd, th.nn.modules.batchnorm._NormBase)
LOSS_EVERY = 100  # updates on a GPU, for which reading a loss waits
Array = npt.NDArray[Any]


class AtariDQN(AtariOffPolicy, DQN):
    """DQN on screens (Mnih et al. 2015), with the arguments of SB3's and of `AtariOffPolicy`.

    With ``engine=Engine(update="sb3", buffer="sb3")`` and no option it is SB3's, bit for bit.

    :param double_q: see `Rule`, as are `loss`, `munchausen_alpha`, `munchausen_temperature` and
        `munchausen_clip`
    :param exploration_decay: above 0, epsilon falls exponentially at this rate per step, from
        `exploration_initial_eps` towards `exploration_final_eps`, however long the run
    :raises ValueError: options that exclude each other
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
        self._actor: Actor | None = None
        self._pending = 0  # gradient steps that wait for the next step of the environment
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self._speed_up()

    def _speed_up(self) -> None:
        """After anything that makes parameters or an optimizer anew."""
        self._update = self._actor = None
        self._rule()  # says what cannot be combined before anything is trained
        self._has_modes = any(isinstance(m, HAVE_MODES) for m in self.policy.modules())
        self._is_noisy = bool(noisy_layers(self.q_net))
        if self.engine.precision == "tf32":
            th.set_float32_matmul_precision("high")
            th.backends.cudnn.allow_tf32 = True
        if self.engine.update == "fast":
            speed_up(self.policy, self.device)
            set_up_optimizer(self.policy.optimizer, self.device, can_be_captured(self))

    def _rule(self) -> Rule:
        last = list(self.q_net.q_net)[-1]
        distribution = last if isinstance(last, Distribution) else None
        return Rule(
            self.double_q,
            self.loss,
            self.munchausen_alpha,
            self.munchausen_temperature,
            self.munchausen_clip,
            distribution,
        )

    @property
    def is_captured(self) -> bool:
        """Updates run as a CUDA graph."""
        return self._update is not None and self._update.is_captured

    def _on_step(self) -> None:
        super()._on_step()
        if self.exploration_decay:
            first, last = self.exploration_initial_eps, self.exploration_final_eps
            share = math.exp(-self.exploration_decay * self.num_timesteps)
            self.exploration_rate = last + (first - last) * share
            self.logger.record("rollout/exploration_rate", self.exploration_rate)

    def predict(
        self,
        observation: Any,
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, tuple[Array, ...] | None]:
        """As SB3's, but each environment explores by itself; noisy layers explore, too."""
        shape = (self.n_envs, *(self.observation_space.shape or ()))
        several = np.shape(observation) == shape
        several = several or self.policy.is_vectorized_observation(observation)
        if deterministic or not several:
            return super().predict(observation, state, episode_start, deterministic)
        explore = np.random.rand(len(observation)) < self.exploration_rate
        actions = np.zeros(len(observation), dtype=np.int64)
        if not explore.all():
            actions = self._greedy(observation)
        for env in np.flatnonzero(explore):
            actions[env] = self.action_space.sample()
        return actions, state

    def _greedy(self, observation: Array) -> Array:
        fast = self.engine.update == "fast" and takes_scaled(self.q_net)
        if not (fast or self._is_noisy) or len(observation) != self.n_envs:
            return self.policy.predict(observation, deterministic=True)[0]
        if self._actor is None:
            self._actor = Actor(self, self.n_envs)
        return self._actor(observation)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update now, or while the environment takes its next step."""
        self._pending += gradient_steps
        is_last = self.num_timesteps >= self._total_timesteps
        if not self.engine.overlap or is_last:
            self._learn_pending(batch_size)

    def _learn_pending(self, batch_size: int) -> None:
        if self._pending:
            steps, self._pending = self._pending, 0
            self._learn(steps, batch_size)

    def _learn(self, gradient_steps: int, batch_size: int) -> None:
        if self._has_modes:
            self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        if isinstance(self.replay_buffer, PrioritizedFrameReplayBuffer):
            self.replay_buffer.anneal(1 - self._current_progress_remaining)
        if self._update is None or self._update.batch_size != batch_size:
            self._update = Update(self, self.engine, self._rule(), batch_size)
        self._update.guard = self.guard
        self._update(gradient_steps)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if self.device.type == "cpu" or self._n_updates % LOSS_EVERY < gradient_steps:
            loss, norm = self._update.mean_loss_and_norm()
            self.logger.record("train/loss", loss)
            self.logger.record("train/gradient_norm", norm)
        if self._has_modes:
            self.policy.set_training_mode(False)  # an overlapped update is within a rollout

    def _update_learning_rate(self, optimizers: Any) -> None:
        rate = self.lr_schedule(self._current_progress_remaining)
        self.logger.record("train/learning_rate", rate)
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            for group in optimizer.param_groups:
                if isinstance(group["lr"], th.Tensor):  # a graph reads it there
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "DQN",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> AtariDQN:
        """As SB3's."""
        assert self.env is not None
        games, arguments = self.env.unwrapped, (callback, log_interval, tb_log_name)
        if self.engine.overlap:
            if not isinstance(games, AtariVectorEnv):
                raise ValueError("an update overlaps with the native environment only")
            games.while_emulating = lambda: self._learn_pending(self.batch_size)
        try:
            super().learn(total_timesteps, *arguments, reset_num_timesteps, progress_bar)
        finally:
            if self.engine.overlap:
                games.while_emulating = None  # type: ignore[attr-defined]
        return self

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """As SB3's; what was loaded is then laid out for speed."""
        super().set_parameters(load_path_or_dict, exact_match, device)
        self._speed_up()

    def _excluded_save_params(self) -> list[str]:
        own = ("_update", "_actor", "_pending", "_has_modes", "_is_noisy")
        return [*super()._excluded_save_params(), *own]
