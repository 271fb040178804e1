"""What this project's learners share: a replay of frames, and files that are SB3's own agents."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import FloatSchedule

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

    Its files are read by that algorithm without this project, where the policy needs none of its
    classes: SB3 pickles classes into the file by their names, and those of this project that only
    training needs stay out.

    :param engine: how it is computed
    :param frame_stack: frames of an observation
    :param frame_stack_padding: what stands before the first frame of an episode: ``zero``, or
        ``first`` for that frame itself
    :param prioritized_replay: `alpha` and `beta` of `PrioritizedFrameReplayBuffer`; None: draw
        uniformly
    """

    def __init__(
        self,
        *args: Any,
        engine: Engine | None = None,
        frame_stack: int = 4,
        frame_stack_padding: str = "zero",
        prioritized_replay: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.engine = engine or Engine()
        self._frame_stack, self._repeat_first = frame_stack, frame_stack_padding == "first"
        self.prioritized_replay = prioritized_replay
        self.guard: Any = None  # called in each update of `AtariDQN`
        self._for_others = False  # while an agent is saved
        self.goes_on = False  # `learn` continues what was broken off, up to its budget
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
        a_step = bytes_per_step(self.observation_space, self._frame_stack)
        size = self.buffer_size * a_step
        on_gpu = self.engine.storage == "auto" and gpu_has_room(size, self.device)
        spaces_of = self.observation_space, self.action_space
        settings: dict[str, Any] = {
            "device": self.device,
            "n_envs": self.n_envs,
            "handle_timeout_termination": kept,
            "frame_stack": self._frame_stack,
            "repeat_first": self._repeat_first,
            "n_steps": self.n_steps,
            "gamma": self.gamma,
            "storage": "device" if on_gpu else "cpu",
        }
        if self.prioritized_replay is None:
            return FrameReplayBuffer(self.buffer_size, *spaces_of, **settings)
        settings |= self.prioritized_replay
        return PrioritizedFrameReplayBuffer(self.buffer_size, *spaces_of, **settings)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """As SB3's; a training that goes on does so with its counters, games and log."""
        if self.goes_on:
            total_timesteps, reset_num_timesteps = total_timesteps - self.num_timesteps, False
        more = reset_num_timesteps, tb_log_name, progress_bar
        return super()._setup_learn(total_timesteps, callback, *more)

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
        optimizer = self.policy.optimizer
        for_others = self._for_others and _is_own(type(optimizer))
        state = unused_adam(optimizer) if for_others else plain_state(optimizer)
        return {**super().get_parameters(), "policy.optimizer": state}

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """As SB3's; the state of another kind of optimizer is left out, and that is said."""
        params = load_path_or_dict
        if not isinstance(params, dict):
            _, params, _ = load_from_zip_file(params, device=device, load_data=False)
        state, given = self.policy.optimizer.state_dict(), params.get("policy.optimizer")
        if given and given["param_groups"][0].keys() != state["param_groups"][0].keys():
            say("the saved optimizer is of another kind: its averages start anew")
            params = {**params, "policy.optimizer": state}
        super().set_parameters(params, exact_match, device)

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save an agent that `stable_baselines3.DQN.load` reads without this project."""
        with self._without_own_classes():
            super().save(path, exclude, include)

    @contextmanager
    def _without_own_classes(self) -> Iterator[None]:
        names = ("policy_kwargs", "replay_buffer_class", "replay_buffer_kwargs")
        kept = {name: getattr(self, name) for name in (*names, "learning_rate", "lr_schedule")}
        self._for_others = True
        if _is_own(type(self.learning_rate)):  # what the zoo makes of lin_1e-4
            self.learning_rate = self.lr_schedule(self._current_progress_remaining)
            self.lr_schedule = FloatSchedule(self.learning_rate)
        if _is_own(self.policy_kwargs.get("optimizer_class")):
            arguments = self.policy_kwargs.items()
            self.policy_kwargs = {k: v for k, v in arguments if k not in TRAINING_ONLY}
        if _is_own(self.replay_buffer_class):
            self.replay_buffer_class, self.replay_buffer_kwargs = None, {}
        try:
            yield
        finally:
            for name, value in kept.items():
                setattr(self, name, value)
            self._for_others = False

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "engine", "guard", "_for_others", "goes_on"]


def _is_own(cls: type | None) -> bool:
    return cls is not None and cls.__module__.partition(".")[0] in ("custom", "rl_zoo3")
