"""Games shared out among processes, each of which steps a `DummyVecEnv` of its share.

SB3's `SubprocVecEnv` takes one process for each game, which costs more than it brings where there
are more games than cores (docs/performance.md).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import CloudpickleWrapper, DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from custom.errors import UserError

PATIENCE = 60.0  # seconds; a step takes milliseconds, and the start of a game half a second
Games = Sequence[Callable[[], gym.Env[Any, Any]]]


class WorkerVecEnv(VecEnv):
    """Steps the games as one `DummyVecEnv` of all of them would; this process steps a share, too.

    Ctrl-C and SIGTERM do not reach the other processes; they end with this one, even where it is
    killed.

    :param games: functions that make them
    :param workers: number of processes with this one, 2 or more, at most one for each game
    :param name: of the game, for errors
    :raises UserError: from any method: a process has died or hangs
    """

    def __init__(self, games: Games, workers: int, name: str) -> None:
        self._name = name
        self.shares = np.array_split(np.arange(len(games)), workers)
        self._pipes: list[Connection] = []
        self._processes = []
        context = _context()
        for share in self.shares[1:]:
            ours, theirs = context.Pipe()
            arguments = theirs, CloudpickleWrapper([games[i] for i in share])
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._own = own = DummyVecEnv([games[i] for i in self.shares[0]])
        self.metadata = own.metadata
        super().__init__(len(games), own.observation_space, own.action_space)

    def call(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """Call a function of a module in each process: with its `DummyVecEnv` first.

        :param arguments: further ones, each with one value for each process
        :return: what it returned, one value for each process
        """
        for i, pipe in enumerate(self._pipes, start=1):
            try:
                pipe.send((function, *(values[i] for values in arguments)))
            except OSError:
                self._fail(i, "has died")
        own = function(self._own, *(values[0] for values in arguments))
        return [own, *(self._answer(i, pipe) for i, pipe in enumerate(self._pipes, start=1))]

    def _answer(self, worker: int, pipe: Connection) -> Any:
        try:
            # The second wait is for a process that was stopped itself (Ctrl-Z) during the first.
            if not (pipe.poll(PATIENCE) or pipe.poll(PATIENCE)):
                self._fail(worker, f"has not answered for {2 * PATIENCE:.0f} seconds")
            answer = pipe.recv()
        except (EOFError, OSError):
            self._fail(worker, "has died")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _fail(self, worker: int, what: str) -> None:
        for process in self._processes:
            process.kill()
        games = f"{self.shares[worker][0]} to {self.shares[worker][-1]}"
        raise UserError(f"{self._name}: the process of games {games} {what}")

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, (n_envs,), for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Observations, rewards, dones and infos, as of `DummyVecEnv`."""
        answers = self.call(DummyVecEnv.step, [self._actions[share] for share in self.shares])
        obs, rewards, dones, infos = zip(*answers, strict=True)
        together = [info for share in infos for info in share]
        return np.concatenate(obs), np.concatenate(rewards), np.concatenate(dones), together

    def reset(self) -> np.ndarray:
        """Begin new episodes, with the seeds and options that were set: (n_envs, ...)."""
        seeds = [[self._seeds[i] for i in share] for share in self.shares]
        options = [[self._options[i] for i in share] for share in self.shares]
        answers = self.call(_reset, seeds, options)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [info for _, infos in answers for info in infos]
        return np.concatenate([obs for obs, _ in answers])

    def _of_games(self, method: str, indices: VecEnvIndices, *arguments: Any, **named: Any) -> Any:
        """What a method of `DummyVecEnv` returns for each of some games."""
        chosen = list(self._get_indices(indices))
        shares = [[i for i in chosen if i in share] for share in self.shares]
        calls = [
            (method, arguments, {**named, "indices": [i - share[0] for i in part]})
            for part, share in zip(shares, self.shares, strict=True)
        ]
        values: dict[int, Any] = {}
        for part, answer in zip(shares, self.call(_call, calls), strict=True):
            values |= zip(part, answer or [], strict=False)
        return [values.get(i) for i in chosen]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """As `DummyVecEnv`'s."""
        found: list[Any] = self._of_games("get_attr", indices, attr_name)
        return found

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """As `DummyVecEnv`'s."""
        self._of_games("set_attr", indices, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """As `DummyVecEnv`'s."""
        arguments = method_name, *method_args
        found: list[Any] = self._of_games("env_method", indices, *arguments, **kwargs)
        return found

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """As `DummyVecEnv`'s."""
        found: list[bool] = self._of_games("env_is_wrapped", indices, wrapper_class)
        return found

    def get_images(self) -> Sequence[np.ndarray | None]:
        """As `DummyVecEnv`'s."""
        return [image for images in self.call(DummyVecEnv.get_images) for image in images]

    def close(self) -> None:
        """End the games and the processes; a second time, nothing happens."""
        self._own.close()
        for pipe in self._pipes:
            pipe.close()  # on which a worker closes its games and ends
        for process in self._processes:
            process.join(PATIENCE)
            process.kill()
        self._pipes, self._processes = [], []


def usable_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _context() -> Any:
    """Processes forked by a server that has imported what games need, which takes seconds, once."""
    preload = [__name__]
    command = getattr(sys.modules["__main__"], "__spec__", None)
    if command is not None:  # each worker imports it again: Python's rule for new processes
        preload.append(command.name)
    multiprocessing.set_forkserver_preload(preload)
    return multiprocessing.get_context("forkserver")


def _serve(pipe: Connection, games: CloudpickleWrapper) -> None:
    """A worker: makes its games and answers until the pipe is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        try:
            env = DummyVecEnv(games.var)
            while True:
                function, *arguments = pipe.recv()
                pipe.send(function(env, *arguments))
        except (EOFError, OSError):
            raise
        except Exception as error:
            pipe.send(error)


def _reset(env: DummyVecEnv, seeds: list[Any], options: list[Any]) -> tuple[Any, Any]:
    env._seeds, env._options = seeds, options
    return env.reset(), env.reset_infos


def _call(env: DummyVecEnv, call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> Any:
    method, arguments, named = call
    return getattr(env, method)(*arguments, **named)
