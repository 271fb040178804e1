"""SB3's DQN, faster: the same algorithm on other memory and in fewer calls.

It differs in one thing from SB3's: each of several environments explores by a coin of its own,
where SB3 tosses one for all. What it saves is an agent of SB3's own `DQN`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import MaybeCallback

from custom.buffers import FrameReplayBuffer, bytes_per_step
from custom.engine import Engine
from custom.layout import set_up_optimizer, speed_up
from custom.memory import gpu_has_room
from custom.native_env import AtariVectorEnv
from custom.saving import SavedAsSB3
from custom.update import Actor, Guard, Update, can_be_captured, takes_scaled

HAVE_MODES = (th.nn.modules.dropout._DropoutNd, th.nn.modules.batchnorm._NormBase)
LOSS_EVERY = 100  # updates on a GPU, for which reading a loss waits
Array = npt.NDArray[Any]


class AtariDQN(SavedAsSB3):
    """DQN on screens (Mnih et al. 2015), with the arguments of SB3's.

    :param engine: how it is computed; `Engine(update="sb3", buffer="sb3")` is SB3's, bit for bit
    :param frame_stack: frames of an observation
    """

    def __init__(
        self, *args: Any, engine: Engine | None = None, frame_stack: int = 4, **kwargs: Any
    ) -> None:
        self.engine = engine or Engine()
        self._frame_stack = frame_stack
        self._update: Update | None = None
        self._actor: Actor | None = None
        self.guard: Guard | None = None
        self._pending = 0  # gradient steps that wait for the next step of the environment
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        frames = self.engine.buffer == "frames" and self.replay_buffer_class is None
        if frames:
            self.replay_buffer = self._frame_replay()
            self.optimize_memory_usage = False
        super()._setup_model()
        if frames:
            self.replay_buffer_class = None  # in the saved agent, SB3 chooses its own again
        self._speed_up()

    def _frame_replay(self) -> FrameReplayBuffer:
        kept = self.replay_buffer_kwargs.get("handle_timeout_termination", True)
        assert isinstance(self.observation_space, spaces.Box)
        size = self.buffer_size * bytes_per_step(self.observation_space, self._frame_stack)
        on_gpu = self.engine.storage == "auto" and gpu_has_room(size, self.device)
        return FrameReplayBuffer(
            self.buffer_size,
            self.observation_space,
            self.action_space,
            device=self.device,
            n_envs=self.n_envs,
            handle_timeout_termination=kept,
            frame_stack=self._frame_stack,
            n_steps=self.n_steps,
            gamma=self.gamma,
            storage="device" if on_gpu else "cpu",
        )

    def _speed_up(self) -> None:
        """After anything that makes parameters or an optimizer anew."""
        self._update = self._actor = None
        self._has_modes = any(isinstance(m, HAVE_MODES) for m in self.policy.modules())
        if self.engine.precision == "tf32":
            th.set_float32_matmul_precision("high")
            th.backends.cudnn.allow_tf32 = True
        if self.engine.update == "fast":
            speed_up(self.policy, self.device)
            set_up_optimizer(self.policy.optimizer, self.device, can_be_captured(self))

    @property
    def is_captured(self) -> bool:
        """Updates run as a CUDA graph."""
        return self._update is not None and self._update.is_captured

    def predict(
        self,
        observation: Any,
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, tuple[Array, ...] | None]:
        """As SB3's, but each environment explores by itself."""
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
        if not fast or len(observation) != self.n_envs:
            return self.policy.predict(observation, deterministic=True)[0]
        if self._actor is None:
            self._actor = Actor(self, self.n_envs)
        return self._actor(observation)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update now, or while the environment takes its next step."""
        if self.engine.overlap:
            self._pending += gradient_steps
        else:
            self._learn(gradient_steps, batch_size)

    def learn_pending(self) -> None:
        """What the environment calls between sending actions and receiving frames."""
        if self._pending:
            steps, self._pending = self._pending, 0
            self._learn(steps, self.batch_size)

    def _learn(self, gradient_steps: int, batch_size: int) -> None:
        if self._has_modes:
            self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        if self._update is None or self._update.batch_size != batch_size:
            self._update = Update(self, self.engine, batch_size)
        self._update.guard = self.guard
        self._update(gradient_steps)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if self.device.type == "cpu" or self._n_updates % LOSS_EVERY < gradient_steps:
            self.logger.record("train/loss", self._update.mean_loss())
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
            games.while_emulating = self.learn_pending
        try:
            super().learn(total_timesteps, *arguments, reset_num_timesteps, progress_bar)
            self.learn_pending()
        finally:
            if self.engine.overlap:
                games.while_emulating = None  # type: ignore[attr-defined]
        return self

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: Array,
        new_obs: Any,
        reward: Array,
        dones: Array,
        infos: list[dict[str, Any]],
    ) -> None:
        """As SB3's, without its copies: this replay takes from an observation what it keeps."""
        if not isinstance(replay_buffer, FrameReplayBuffer):
            super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
            return
        next_obs = new_obs
        if dones.any():
            next_obs = np.array(new_obs)
            for env in np.flatnonzero(dones):
                next_obs[env] = infos[env]["terminal_observation"]
        assert isinstance(self._last_obs, np.ndarray)
        replay_buffer.add(self._last_obs, next_obs, buffer_action, reward, dones, infos)
        self._last_obs = new_obs

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """As SB3's; what was loaded is then laid out for speed."""
        super().set_parameters(load_path_or_dict, exact_match, device)
        self._speed_up()

    def _excluded_save_params(self) -> list[str]:
        own = ("engine", "_update", "_actor", "_pending", "_has_modes", "guard")
        return [*super()._excluded_save_params(), *own]
