"""What this project's learners share: a replay of frames, and files that are SB3's own agents."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file, save_to_zip_file
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecFrameStack, unwrap_vec_wrapper

from custom.buffers import FrameReplayBuffer, bytes_per_step
from custom.console import say
from custom.engine import Engine
from custom.layout import plain_state, unused_adam
from custom.memory import gpu_has_room
from custom.prioritized import PrioritizedFrameReplayBuffer

TRAINING_ONLY = ("optimizer_class", "optimizer_kwargs")  # of the policy's arguments
Array = npt.NDArray[Any]


class AtariOffPolicy(OffPolicyAlgorithm):
    """Put before an algorithm of SB3's among the bases of a class.

    Epsilon-greedy exploration is sampled for each environment; SB3 samples it once for all.

    :param engine: how it is computed
    :param frame_stack: frames of an observation; None: as many as `VecFrameStack` stacks, or where
        there is none, the channels of the observation
    :param frame_stack_padding: what stands before the first frame of an episode: ``zero``, or
        ``first`` for that frame itself
    :param prioritized_replay: `alpha` and `beta` of `PrioritizedFrameReplayBuffer`; None: draw
        uniformly
    :raises ValueError: `frame_stack` is not that of the environment, or `VecNormalize` is used with
        the replay of frames
    """

    exploration_rate: float

    def __init__(
        self,
        *args: Any,
        engine: Engine | None = None,
        frame_stack: int | None = None,
        frame_stack_padding: str = "zero",
        prioritized_replay: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.engine = engine or Engine()
        self.frame_stack, self._repeat_first = frame_stack, frame_stack_padding == "first"
        self.prioritized_replay = prioritized_replay
        self._continues = False
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        frames = self.engine.buffer == "frames" and self.replay_buffer_class is None
        if self.prioritized_replay is not None and not frames:
            raise ValueError("prioritized_replay needs BUFFER=frames and no replay_buffer_class")
        if frames:
            self.replay_buffer = self._frame_replay()
            self.optimize_memory_usage = False
        super()._setup_model()
        if frames:
            self.replay_buffer_class = None  # in the saved agent, SB3 chooses its own again

    def _frame_replay(self) -> FrameReplayBuffer:
        kept = self.replay_buffer_kwargs.get("handle_timeout_termination", True)
        assert isinstance(self.observation_space, spaces.Box)
        self.frame_stack = stack = self._frames_of_a_stack(self.observation_space)
        size = self.buffer_size * bytes_per_step(self.observation_space, stack)
        on_gpu = self.engine.storage == "auto" and gpu_has_room(size, self.device)
        spaces_of = self.observation_space, self.action_space
        settings: dict[str, Any] = {
            "device": self.device,
            "n_envs": self.n_envs,
            "handle_timeout_termination": kept,
            "frame_stack": stack,
            "repeat_first": self._repeat_first,
            "n_steps": self.n_steps,
            "gamma": self.gamma,
            "storage": "device" if on_gpu else "cpu",
        }
        if self.prioritized_replay is None:
            return FrameReplayBuffer(self.buffer_size, *spaces_of, **settings)
        settings |= self.prioritized_replay
        return PrioritizedFrameReplayBuffer(self.buffer_size, *spaces_of, **settings)

    def _frames_of_a_stack(self, space: spaces.Box) -> int:
        wrapper = unwrap_vec_wrapper(self.env, VecFrameStack) if self.env is not None else None
        stacked = getattr(wrapper.stacked_obs, "n_stack", None) if wrapper is not None else None
        if None not in (stacked, self.frame_stack) and stacked != self.frame_stack:
            raise ValueError(
                f"frame_stack is {self.frame_stack} and VecFrameStack stacks {stacked}; leave"
                " frame_stack out"
            )
        return int(self.frame_stack or stacked or space.shape[0])

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """As SB3's, but each call begins new episodes, which continue none in the replay."""
        if not self._continues and isinstance(self.replay_buffer, FrameReplayBuffer):
            if self._vec_normalize_env is not None:
                raise ValueError("the replay of frames is not for VecNormalize; take it off")
            self._last_obs = None  # after an evaluation in its games, say, it would not be the last
            self.replay_buffer.cut_off()
        more = reset_num_timesteps, tb_log_name, progress_bar
        return super()._setup_learn(total_timesteps, callback, *more)

    def learn_on(self, total_timesteps: int, callback: MaybeCallback = None) -> None:
        """Continue a training with its games, counters and log.

        :param total_timesteps: its budget, with the steps that were made before
        """
        self._continues = True
        try:
            left = total_timesteps - self.num_timesteps
            self.learn(left, callback, reset_num_timesteps=False)
        finally:
            self._continues = False

    def predict(
        self,
        observation: Any,
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, tuple[Array, ...] | None]:
        """As SB3's, with exploration sampled for each environment."""
        several = self._is_of_games(observation)
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

    def _is_of_games(self, observation: Any) -> bool:
        """Whether it is one observation for each environment, as the training's."""
        shape = (self.n_envs, *(self.observation_space.shape or ()))
        return bool(np.shape(observation) == shape)

    def _greedy(self, observation: Array) -> Array:
        return self.policy.predict(observation, deterministic=True)[0]

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

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """As SB3's; the optimizer's are those of one that was not set up for speed."""
        return {**super().get_parameters(), "policy.optimizer": plain_state(self.policy.optimizer)}

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """As SB3's; the state of another kind of optimizer is left out, and that is said.

        :raises ValueError: as SB3's, and where the state of the optimizer is cut
        """
        params = load_path_or_dict
        if not isinstance(params, dict):
            _, params, _ = load_from_zip_file(params, device=device, load_data=False)
        state, given = self.policy.optimizer.state_dict(), params.get("policy.optimizer")
        if given is not None:
            kinds = {frozenset(averages) for averages in given.get("state", {}).values()}
            if not given.get("param_groups") or "state" not in given or len(kinds) > 1:
                raise ValueError("policy.optimizer: state or param_groups are cut off")
            if not kinds and self._n_updates:
                kind = type(self.policy.optimizer).__name__
                say(f"the file keeps no averages of its optimizer: {kind} starts anew")
            if given["param_groups"][0].keys() != state["param_groups"][0].keys():
                say("the saved optimizer is of another kind: its averages start anew")
                params = {**params, "policy.optimizer": state}
        super().set_parameters(params, exact_match, device)

    def save_for_sb3(self, file: io.BufferedIOBase) -> None:
        """Save an agent that SB3's own class loads without this project, if its policy is SB3's.

        SB3 pickles classes by their names, so those of this project that only training needs stay
        out; the state of such an optimizer is that of an unused Adam.
        """
        plain, parameters = copy.copy(self), self.get_parameters()
        if _is_own(type(self.policy.optimizer)):
            parameters["policy.optimizer"] = unused_adam(self.policy.optimizer)
        if _is_own(type(self.learning_rate)):  # what the zoo makes of lin_1e-4
            plain.learning_rate = self.lr_schedule(self._current_progress_remaining)
            plain.lr_schedule = FloatSchedule(plain.learning_rate)
        if _is_own(self.policy_kwargs.get("optimizer_class")):
            kept = {k: v for k, v in self.policy_kwargs.items() if k not in TRAINING_ONLY}
            plain.policy_kwargs = kept
        if _is_own(self.replay_buffer_class):
            plain.replay_buffer_class, plain.replay_buffer_kwargs = None, {}
        left_out = {*self._excluded_save_params(), "policy"}
        values = {k: v for k, v in vars(plain).items() if k not in left_out}
        data = {name: value for name, value in values.items() if not _is_own(type(value))}
        save_to_zip_file(file, data, parameters, {})

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_continues"]


def _is_own(cls: type | None) -> bool:
    return cls is not None and cls.__module__.partition(".")[0] in ("custom", "rl_zoo3")
