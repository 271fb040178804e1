"""Games divided among processes; each process steps its share as a `DummyVecEnv`.

SB3's `SubprocVecEnv` needs one process per game, which is slower where there are more games than
cores (docs/performance.md).
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from operator import attrgetter, methodcaller
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import CloudpickleWrapper, DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from custom.system.errors import UserError
from custom.system.signals import STOPPING

CLOSING = 60.0  # seconds that a process has to end
Games = Sequence[Callable[[], gym.Env[Any, Any]]]


class WorkerVecEnv(VecEnv):
    """Returns what one `DummyVecEnv` with all games would; this process steps a share, too.

    Only this process receives Ctrl-C and SIGTERM. The others end with it, even if it is killed.

    :param games: functions that make the games
    :param workers: number of processes including this one, from 2 to the number of games
    :param name: of the game, for errors
    :raises UserError: from any method: a process has died
    """

    def __init__(self, games: Games, workers: int, name: str) -> None:
        self._name = name
        self.shares = np.array_split(np.arange(len(games)), workers)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        # At its end Python joins the processes, which wait for their pipes: close these first.
        Finalize(self, _close, (self._pipes,), exitpriority=10)
        try:
            for share in self.shares[1:]:
                self._start([games[i] for i in share])
            self._local = DummyVecEnv([games[i] for i in self.shares[0]])
            self.metadata = self._local.metadata
            self.call(attrgetter("num_envs"))  # waits until all games are made, or raises
        except BaseException:
            self._kill()
            raise
        super().__init__(len(games), self._local.observation_space, self._local.action_space)

    def _start(self, games: Games) -> None:
        context = _context()
        ours, theirs = context.Pipe()
        arguments = theirs, CloudpickleWrapper(games)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._pipes.append(ours)
        self._processes.append(process)

    def call(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """Call a picklable function in each process, with its `DummyVecEnv` as first argument.

        :param arguments: further arguments of the function, each with one value per process
        :return: one result per process
        """
        mine, *theirs = [tuple(values[i] for values in arguments) for i in range(len(self.shares))]
        try:
            for pipe, given in zip(self._pipes, theirs, strict=True):
                with suppress(OSError):  # it has died, which `_answer` reports
                    pipe.send((function, *given))
            answers = [_result_or_error(function, self._local, *mine)]
            answers += [self._answer(i) for i in range(1, len(self.shares))]
        except BaseException:  # e.g. Ctrl-C: answers to this call would be taken for the next one's
            self._kill()
            raise
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _answer(self, process: int) -> Any:
        """Wait for a process's answer; `process` counts from 1, this process is 0."""
        try:
            return self._pipes[process - 1].recv()
        except (EOFError, OSError):
            share = self.shares[process]
            said = f"the process of games {share[0]} to {share[-1]} has died"
            raise UserError(f"{self._name}: {said}") from None

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions, (n_envs,), for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Observations, rewards, dones and infos, as `DummyVecEnv` returns them."""
        answers = self.call(_step, [self._actions[share] for share in self.shares])
        obs, rewards, dones, infos, reset_infos = zip(*answers, strict=True)
        self.reset_infos = [info for share in reset_infos for info in share]
        all_infos = [info for share in infos for info in share]
        return np.concatenate(obs), np.concatenate(rewards), np.concatenate(dones), all_infos

    def reset(self) -> np.ndarray:
        """Start new episodes, with the seeds that were set; (n_envs, ...)."""
        answers = self.call(_reset, [[self._seeds[i] for i in share] for share in self.shares])
        self._reset_seeds()
        self.reset_infos = [info for _, infos in answers for info in infos]
        return np.concatenate([obs for obs, _ in answers])

    def _ask(self, indices: VecEnvIndices, method: str, *arguments: Any, **named: Any) -> list[Any]:
        """One answer per game in `indices` (None: all) to a method that is called for all games."""
        answers = self.call(methodcaller(method, *arguments, **named))
        values = [value for share in answers for value in share or []]
        return [values[i] for i in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """As `DummyVecEnv`'s."""
        return self._ask(indices, "get_attr", attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """As `DummyVecEnv`'s, for all games."""
        assert indices is None, "set_attr is for all games here"
        self.call(methodcaller("set_attr", attr_name, value))

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """As `DummyVecEnv`'s, for all games."""
        assert indices is None, "env_method is for all games here"
        return self._ask(None, "env_method", method_name, *method_args, **kwargs)

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """As `DummyVecEnv`'s."""
        return self._ask(indices, "env_is_wrapped", wrapper_class)

    def close(self) -> None:
        """Close the games and end the processes; a second call does nothing."""
        self._local.close()
        _close(self._pipes)
        for process in self._processes:
            process.join(CLOSING)
        self._kill()
        self._processes.clear()


def usable_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _context() -> Any:
    """A fork server: it imports slow modules once, and its forks block the signals `STOPPING`."""
    # The second module is for the main module, which Python imports again in each process.
    multiprocessing.set_forkserver_preload([__name__, "custom.training.train"])
    resource_tracker.ensure_running()  # first, because it unblocks signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # inherited by all processes
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return multiprocessing.get_context("forkserver")


def _close(pipes: list[Connection]) -> None:
    """Close the pipes, which ends the processes behind them."""
    for pipe in pipes:
        pipe.close()
    pipes.clear()


def _serve(pipe: Connection, games: CloudpickleWrapper) -> None:
    """Main function of a worker process: make its games, answer calls until the pipe is closed."""
    env = _result_or_error(DummyVecEnv, games.var)
    with suppress(EOFError, OSError):
        while True:
            function, *arguments = pipe.recv()
            has_games = not isinstance(env, Exception)
            pipe.send(_result_or_error(function, env, *arguments) if has_games else env)


def _result_or_error(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function, or the exception that it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return error


def _step(env: DummyVecEnv, actions: np.ndarray) -> tuple[Any, ...]:
    return (*env.step(actions), env.reset_infos)


def _reset(env: DummyVecEnv, seeds: list[int | None]) -> tuple[Any, Any]:
    env._seeds = seeds
    return env.reset(), env.reset_infos
