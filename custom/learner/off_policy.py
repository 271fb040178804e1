"""What both learners share: the replay buffer, exploration, and files that SB3 loads."""

import copy
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file, save_to_zip_file
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecFrameStack, unwrap_vec_wrapper

from custom.learner.engine import Engine
from custom.learner.layout import plain_state
from custom.replay.buffer import FrameReplayBuffer
from custom.replay.prioritized import PrioritizedFrameReplayBuffer
from custom.system.console import say

TRAINING_ONLY = ("optimizer_class", "optimizer_kwargs")  # in policy_kwargs
Array = npt.NDArray[Any]


class AtariOffPolicy(OffPolicyAlgorithm):
    """A mixin for SB3's DQN and sb3-contrib's QR-DQN; list it before them.

    Epsilon-greedy exploration is sampled per environment; SB3 samples it once for all.

    :param engine: None: `Engine`'s defaults
    :param frame_stack_padding: what a stack holds before an episode's first frame: blank frames
        (``zero``, `VecFrameStack`), or that frame (``first``, `RepeatFirstFrame`)
    :param prioritized_replay: `alpha` and `beta` of `PrioritizedFrameReplayBuffer`; None: sample
        uniformly
    :param acts_in_warm_up: explore by epsilon before `learning_starts`, too, not at random
    :raises ValueError: `prioritized_replay` without a `FrameReplayBuffer`; from `learn`: games in
        `VecNormalize`
    """

    exploration_rate: float

    def __init__(
        self,
        *args: Any,
        engine: Engine | None = None,
        frame_stack_padding: str = "zero",
        prioritized_replay: dict[str, float] | None = None,
        acts_in_warm_up: bool = False,
        **kwargs: Any,
    ) -> None:
        self.engine = engine or Engine()
        self.frame_stack, self._repeat_first = 1, frame_stack_padding == "first"
        self.prioritized_replay = prioritized_replay
        self.acts_in_warm_up, self._resumes = acts_in_warm_up, False
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        use_frames = self.engine.buffer == "frames" and self.replay_buffer_class is None
        if self.prioritized_replay is not None and not use_frames:
            raise ValueError("prioritized_replay needs BUFFER=frames and no replay_buffer_class")
        if use_frames:
            self.replay_buffer = self._make_frame_replay()
            self.optimize_memory_usage = False
        super()._setup_model()
        if use_frames:
            self.replay_buffer_class = None  # SB3 has set its default, which would be saved

    def _make_frame_replay(self) -> FrameReplayBuffer:
        if self.env is not None:
            stack = unwrap_vec_wrapper(self.env, VecFrameStack)
            self.frame_stack = stack.stacked_obs.n_stack if stack is not None else 1
        uniform = self.prioritized_replay is None
        kind = FrameReplayBuffer if uniform else PrioritizedFrameReplayBuffer
        settings: dict[str, Any] = {
            **self.replay_buffer_kwargs,
            **(self.prioritized_replay or {}),
            "device": self.device,
            "n_envs": self.n_envs,
            "frame_stack": self.frame_stack,
            "repeat_first": self._repeat_first,
            "n_steps": self.n_steps,
            "gamma": self.gamma,
        }
        return kind(self.buffer_size, self.observation_space, self.action_space, **settings)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        """As SB3's, but each call of `learn` starts new episodes.

        SB3 continues from the last observation, which is wrong if the environments were stepped
        meanwhile, for example in an evaluation.
        """
        if self._vec_normalize_env is not None:
            raise ValueError("VecNormalize is not for screens; remove it")
        if not self._resumes and isinstance(self.replay_buffer, FrameReplayBuffer):
            self._last_obs = None
            self.replay_buffer.cut_off()
        return super()._setup_learn(*args, **kwargs)

    def continue_learning(self, total_timesteps: int, callback: MaybeCallback = None) -> None:
        """Resume a training in the middle of its episodes, with its counters and log.

        :param total_timesteps: the run's budget in steps, including the steps already made
        """
        self._resumes = True
        try:
            left = total_timesteps - self.num_timesteps
            self.learn(left, callback, reset_num_timesteps=False)
        finally:
            self._resumes = False

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[Array, Array]:
        starts = 0 if self.acts_in_warm_up else learning_starts
        return super()._sample_action(starts, action_noise, n_envs)

    def predict(
        self,
        observation: Any,
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, tuple[Array, ...] | None]:
        """As SB3's, with exploration sampled per environment."""
        if deterministic or not self.policy.is_vectorized_observation(observation):
            return super().predict(observation, state, episode_start, deterministic)
        explore = np.random.rand(len(observation)) < self.exploration_rate
        actions = np.zeros(len(observation), dtype=np.int64)
        if not explore.all():
            actions = self._greedy(observation)
        for env in np.flatnonzero(explore):
            actions[env] = self.action_space.sample()
        return actions, state

    def _greedy(self, observation: Array) -> Array:
        """Greedy actions, (B,), for a batch of observations."""
        return self.policy.predict(observation, deterministic=True)[0]

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """As SB3's, with the optimizer's state in PyTorch's usual layout."""
        return {**super().get_parameters(), "policy.optimizer": plain_state(self.policy.optimizer)}

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """As SB3's, but an optimizer keeps its values, and takes the averages of an equal one only.

        `save_for_sb3` may write another kind; a run that begins with another's state may differ.
        """
        params = load_path_or_dict
        if not isinstance(params, dict):
            _, params, _ = load_from_zip_file(params, device=device, load_data=False)
        if "policy.optimizer" in params:
            own, saved = self.policy.optimizer.state_dict(), params["policy.optimizer"]
            if _values_of(saved) == _values_of(own):
                own["state"] = saved["state"]
            else:
                name = type(self.policy.optimizer).__name__
                say(f"the file's optimizer is not this {name}: its averages are not taken")
            params = {**params, "policy.optimizer": own}
        super().set_parameters(params, exact_match, device)

    def save_for_sb3(self, file: io.BufferedIOBase) -> None:
        """Save an agent that SB3's own class loads without this project, if its policy is SB3's.

        SB3 pickles classes by name. So classes of this project that only training needs are left
        out, and the state of an optimizer of this project is replaced by that of a new Adam.
        """
        saved, parameters = copy.copy(self), self.get_parameters()
        if _is_of_this_project(type(self.policy.optimizer)):
            weights = [p for group in self.policy.optimizer.param_groups for p in group["params"]]
            rate = self.lr_schedule(self._current_progress_remaining)
            parameters["policy.optimizer"] = th.optim.Adam(weights, lr=rate).state_dict()
            policy_kwargs = self.policy_kwargs.items()
            saved.policy_kwargs = {k: v for k, v in policy_kwargs if k not in TRAINING_ONLY}
        if _is_of_this_project(self.replay_buffer_class):
            saved.replay_buffer_class, saved.replay_buffer_kwargs = None, {}
        left_out = {*self._excluded_save_params(), "policy", "engine"}
        data = {name: value for name, value in vars(saved).items() if name not in left_out}
        save_to_zip_file(file, data, parameters, {})

    def _excluded_save_params(self) -> list[str]:
        own = ("acts_in_warm_up", "_resumes", "_last_obs", "_last_original_obs")
        return [*super()._excluded_save_params(), *own]


def _values_of(optimizer: dict[str, Any]) -> dict[str, Any]:
    """What an optimizer's state dict says of it, but for its schedule and its machine."""
    [group] = optimizer["param_groups"]
    return {k: v for k, v in group.items() if k not in ("lr", "fused", "capturable")}


def _is_of_this_project(cls: type | None) -> bool:
    return cls is not None and cls.__module__.partition(".")[0] == "custom"
