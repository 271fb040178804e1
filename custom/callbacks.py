"""What happens during training besides learning: evaluations, checkpoints, a record of the games.

Every callback may be ended twice, as the zoo does. Periods are in steps.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from custom.agents import action_values, save_agent
from custom.baselines import random_actions
from custom.console import say
from custom.envs import make_games
from custom.evaluation import N_ENVS, Protocol, Scores, evaluation_seed
from custom.games import Game
from custom.runs import Run, atomic_file

GAMES_FILE = "training_games.csv"
HELD_OUT_STATES = 512
NOT_A_NUMBER = ("stdout", "log", "json", "csv", "tensorboard")  # what SB3 writes numbers to


class PeriodicCallback(BaseCallback):
    """Does something every `freq` steps, however many environments step at once."""

    def __init__(self, freq: int) -> None:
        super().__init__()
        self.freq = max(freq, 1)
        self._next = self.freq

    def _on_step(self) -> bool:
        if self.num_timesteps < self._next:
            return True
        self._next = (self.num_timesteps // self.freq + 1) * self.freq
        try:
            return self.on_period()
        except OSError as error:  # a full disk may have room again the next time
            what = type(self).__name__
            say(f"step {self.num_timesteps:,}: {what} not written: {error}; training goes on")
            return True

    def on_period(self) -> bool:
        """What is done; False ends the training."""
        raise NotImplementedError


class StopRequest(BaseCallback):
    """Ends the training between two steps once somebody asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.requested = False

    def _on_step(self) -> bool:
        return not self.requested


class GameRecord(BaseCallback):
    """Writes every finished training game into ``training_games.csv`` and knows the last 100.

    :param folder: the run folder
    :param frame_skip: frames per step
    """

    def __init__(self, folder: Path, frame_skip: int) -> None:
        super().__init__()
        self.folder = folder
        self.frame_skip = frame_skip
        self.last_scores: deque[float] = deque(maxlen=100)
        self._file: IO[str] | None = None

    def _on_training_start(self) -> None:
        self._file = (self.folder / GAMES_FILE).open("a", newline="")
        if self._file.tell() == 0:
            csv.writer(self._file).writerow(["steps", "frames", "score", "game_frames"])
            self._file.flush()

    def _on_step(self) -> bool:
        assert self._file is not None
        for info in self.locals["infos"]:
            if "episode" in info:
                score, length = info["episode"]["r"], info["episode"]["l"]
                self.last_scores.append(float(score))
                steps = self.num_timesteps
                row = [steps, steps * self.frame_skip, score, length]
                csv.writer(self._file).writerow(row)
                self._file.flush()
        return True

    def _on_training_end(self) -> None:
        if self._file is not None:
            self._file.close()


class HeldOutStates:
    """A fixed set of states from random play (Mnih et al. 2015, Extended Data Fig. 2).

    Their mean max-a Q rises smoothly while scores jump about. Random play and a seed of their own
    make them the same whenever they are collected.

    :param states: (N, frame_stack, height, width), uint8
    """

    def __init__(self, game: Game, hyperparams: dict[str, Any], seed: int) -> None:
        env = make_games(game, hyperparams, N_ENVS, seed)
        act = random_actions(int(env.action_space.n), seed)  # type: ignore[attr-defined]
        kept: list[npt.NDArray[Any]] = []
        obs = env.reset()
        while sum(map(len, kept)) < HELD_OUT_STATES:
            for _ in range(4):  # neighbouring states are nearly equal
                obs, *_ = env.step(act(obs))  # type: ignore[arg-type]
            kept.append(np.array(obs))
        env.close()
        self.states = np.concatenate(kept)[:HELD_OUT_STATES]

    @th.no_grad()
    def mean_max_q(self, model: OffPolicyAlgorithm) -> float:
        """Mean over the states of the largest action value."""
        model.policy.set_training_mode(False)
        batches = np.array_split(self.states, len(self.states) // 128)
        tensors = (th.as_tensor(batch, device=model.device) for batch in batches)
        values = [action_values(model, tensor).max(dim=1).values for tensor in tensors]
        return float(th.cat(values).mean())


class FixedEpsilonEvaluation(PeriodicCallback):
    """Evaluates by the protocol in environments of its own, and keeps the best agent.

    The file ``evaluations.npz`` is the zoo's (`timesteps`, `results`, `ep_lengths`), with
    `mean_max_q` added.

    :param protocol: its seed moves on with the steps, so that no evaluation repeats another's games
    """

    model: OffPolicyAlgorithm

    def __init__(
        self,
        run: Run,
        freq: int,
        protocol: Protocol,
        should_stop: Callable[[], bool],
    ) -> None:
        super().__init__(freq)
        self.run = run
        self.protocol = protocol
        self.should_stop = should_stop
        self.best: float | None = None
        self._done: list[tuple[int, Scores, float]] = []
        self._held_out: HeldOutStates | None = None

    def on_period(self) -> bool:
        """Evaluate; a broken-off evaluation leaves nothing."""
        if self._held_out is None:
            states_seed = evaluation_seed(self.protocol.seed)
            self._held_out = HeldOutStates(self.run.game, self.run.hyperparams, states_seed)
        seed = evaluation_seed(self.protocol.seed, self.num_timesteps)
        protocol = replace(self.protocol, seed=seed)
        scores = protocol.play(self.model, self.run.game, self.run.hyperparams, self.should_stop)
        if len(scores.scores) < protocol.episodes:
            return True
        mean_max_q = self._held_out.mean_max_q(self.model)
        self._done.append((self.num_timesteps, scores, mean_max_q))
        self._write()
        self._log(scores, mean_max_q)
        if self.best is None or scores.mean > self.best:
            save_agent(self.model, self.run.path / "best_model.zip")
            self.best = scores.mean
        return True

    @property
    def means(self) -> list[float]:
        """Mean score of each evaluation so far."""
        return [scores.mean for _, scores, _ in self._done]

    def _write(self) -> None:
        steps, scores, values = zip(*self._done, strict=True)
        with atomic_file(self.run.path / "evaluations.npz") as file:
            np.savez(
                file,
                timesteps=np.array(steps),
                results=np.array([s.scores for s in scores]),
                ep_lengths=np.array([s.frames for s in scores]),
                mean_max_q=np.array(values),
            )

    def _log(self, scores: Scores, mean_max_q: float) -> None:
        self.logger.record("eval/mean_score", scores.mean)
        self.logger.record("eval/std_score", scores.std)
        self.logger.record("eval/median_score", float(np.median(scores.scores)))
        self.logger.record("eval/mean_max_q", mean_max_q)
        self.logger.record("eval/scores", scores.scores, exclude=NOT_A_NUMBER)
        self.logger.dump(self.num_timesteps)
        say(
            f"step {self.num_timesteps:,}: evaluation {scores.mean:.1f} ± {scores.std:.1f} points"
            f" (full games: {len(scores.scores)}, epsilon {self.protocol.epsilon}),"
            f" mean max Q {mean_max_q:.3f}"
        )


class Checkpoints(PeriodicCallback):
    """Saves the agent as the zoo names it, whole or not at all, and keeps the last few.

    :param keep: how many stay
    """

    def __init__(self, run: Run, freq: int, keep: int) -> None:
        super().__init__(freq)
        self.run = run
        self.keep = keep

    def on_period(self) -> bool:
        """Save, then delete the oldest."""
        save_agent(self.model, self.run.path / f"rl_model_{self.num_timesteps}_steps.zip")
        for old in self.run.checkpoints()[: -self.keep]:
            old.unlink()
        return True
