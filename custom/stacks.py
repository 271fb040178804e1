"""Screens of several games, made into the stacks of frames that a network takes."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

Array = np.ndarray


class FrameStacks:
    """Observations, (n_envs, frame_stack, size, size) uint8, the newest frame last.

    Each is a new array, safe to keep; do not write into the latest, as the next one is made of it.

    :param shape: (n_envs, frame_stack, size, size)
    :param screen: height and width of what is drawn
    :param exact: screens are in colour, to be made grey and small as in SB3's `WarpFrame`;
        otherwise they are so already
    :param threads: for OpenCV
    """

    def __init__(
        self, shape: tuple[int, ...], screen: tuple[int, int], exact: bool, threads: int
    ) -> None:
        self._shape, self._exact = shape, exact
        self._grey = np.empty((shape[0], *screen), np.uint8)
        parts = np.array_split(np.arange(shape[0]), min(threads, shape[0]) if exact else 1)
        self._parts = [part.tolist() for part in parts]  # the games of each thread
        self._pool = ThreadPoolExecutor(threads)  # starts no thread before it is needed
        self.latest = np.zeros(shape, np.uint8)

    def start(self, screens: Array) -> Array:
        """The first observations of new games."""
        self.latest = np.zeros(self._shape, np.uint8)
        self.draw(range(len(screens)), screens)
        return self.latest

    def push(self, screens: Array) -> Array:
        """The observations with one frame more."""
        before, self.latest = self.latest, np.empty_like(self.latest)
        np.copyto(self.latest[:, :-1], before[:, 1:])
        jobs = [self._pool.submit(self.draw, part, screens) for part in self._parts[1:]]
        self.draw(self._parts[0], screens)
        for job in jobs:
            job.result()
        return self.latest

    def end(self, game: int) -> Array:
        """The last observation of an episode; what follows is blank before its newest frame."""
        last: Array = self.latest[game].copy()
        self.latest[game, :-1] = 0
        return last

    def draw(self, games: Iterable[int], screens: Array) -> None:
        """The screens of some games become their newest frames."""
        for i in games:
            newest = self.latest[i, -1]
            if self._exact:
                cv2.cvtColor(screens[i, 0], cv2.COLOR_RGB2GRAY, dst=self._grey[i])
                cv2.resize(self._grey[i], newest.shape, newest, 0, 0, cv2.INTER_AREA)
            else:
                newest[:] = screens[i, 0]

    def close(self) -> None:
        """End the threads; a second time, nothing happens."""
        self._pool.shutdown()


class RepeatedFirstFrame(StackedObservations[Any]):
    """SB3's stacks, with the first frame of a game in all places instead of blank ones before it.

    Frames are (height, width, channels).
    """

    def reset(self, observation: Any) -> Any:
        """The first observations: (n_envs, height, width, frame_stack * channels)."""
        super().reset(observation)
        return self._fill(np.ones(len(observation), dtype=bool), observation)

    def update(self, observations: Any, dones: Any, infos: Any) -> Any:
        """The observations with one frame more, new games filled."""
        _, infos = super().update(observations, dones, infos)
        return self._fill(dones, observations), infos

    def _fill(self, games: Any, observations: Any) -> Any:
        self.stacked_obs[games] = np.tile(observations[games], self.n_stack)
        return self.stacked_obs


def repeat_first_frame(env: VecEnv) -> None:
    """Let the `VecFrameStack` of an environment begin games with their first frame."""
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecFrameStack):
            env.stacked_obs.__class__ = RepeatedFirstFrame
        env = env.venv
