"""Frame stacks that begin a game with its first frame instead of blank ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecFrameStack


class RepeatFirstFrame(VecFrameStack):
    """`VecFrameStack` of frames (height, width, channels): the first one fills all places."""

    def reset(self) -> Any:
        """The first observations: (n_envs, height, width, n_stack * channels)."""
        super().reset()
        return self._fill(np.ones(self.num_envs, dtype=bool))

    def step_wait(self) -> Any:
        """As `VecFrameStack`'s, new games filled."""
        _, rewards, dones, infos = super().step_wait()
        return self._fill(dones), rewards, dones, infos

    def _fill(self, games: Any) -> Any:
        stacks = self.stacked_obs.stacked_obs
        channels = stacks.shape[-1] // self.stacked_obs.n_stack
        stacks[games] = np.tile(stacks[games][..., -channels:], self.stacked_obs.n_stack)
        return stacks
