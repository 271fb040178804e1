"""Frame stacks that repeat the first frame of an episode, instead of blank frames before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecFrameStack


class RepeatFirstFrame(VecFrameStack):
    """`VecFrameStack` in which the first frame of an episode fills the whole stack."""

    def reset(self) -> Any:
        """The first observations: (n_envs, height, width, n_stack * channels)."""
        super().reset()
        return self._fill(np.ones(self.num_envs, dtype=bool))

    def step_wait(self) -> Any:
        """As `VecFrameStack`'s, with the first frame repeated where an episode began."""
        _, rewards, dones, infos = super().step_wait()
        return self._fill(dones), rewards, dones, infos

    def _fill(self, starts: Any) -> Any:
        """Fill stacks with their newest frame where `starts`, (n_envs,), is true."""
        stacks = self.stacked_obs.stacked_obs
        channels = stacks.shape[-1] // self.stacked_obs.n_stack
        stacks[starts] = np.tile(stacks[starts][..., -channels:], self.stacked_obs.n_stack)
        return stacks
