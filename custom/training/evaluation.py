"""Evaluations during a training, by the same protocol as all evaluations."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from custom.evaluation.baselines import held_out_states
from custom.evaluation.protocol import Protocol, Scores, evaluation_seed
from custom.runs.agents import action_values, save_agent
from custom.runs.folder import BEST, EVALUATIONS_FILE, Run
from custom.system.console import say
from custom.system.files import atomic_file
from custom.training.callbacks import PeriodicCallback
from custom.training.status import Status

COLUMNS = ("timesteps", "results", "ep_lengths", "mean_max_q")  # of the file
NUMBER_FORMATS = ("stdout", "log", "json", "csv", "tensorboard")  # outputs of SB3 for numbers only


@th.no_grad()
def mean_max_q(model: OffPolicyAlgorithm, states: npt.NDArray[np.uint8]) -> float:
    """Largest action value of each state, averaged over the states."""
    model.policy.set_training_mode(False)
    batches = np.array_split(states, len(states) // 128)
    tensors = (th.as_tensor(batch, device=model.device) for batch in batches)
    values = [action_values(model, tensor).max(dim=1).values for tensor in tensors]
    return float(th.cat(values).mean())


class FixedEpsilonEvaluation(PeriodicCallback):
    """Evaluates in separate environments every `freq` steps, and saves the best agent.

    The file ``evaluations.npz`` is the zoo's (`timesteps`, `results`, `ep_lengths`), with
    `mean_max_q` added.

    :param protocol: of each evaluation, with its seed replaced by one per step, so that no two
        evaluations play the same games
    :param status: a requested stop ends an evaluation early; its games are discarded then
    """

    model: OffPolicyAlgorithm

    def __init__(self, run: Run, freq: int, protocol: Protocol, status: Status) -> None:
        super().__init__(freq)
        self.run = run
        self.protocol = protocol
        self.status = status
        self._made: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        self._best_saved = -np.inf  # mean score of the agent in the file
        self._states: npt.NDArray[np.uint8] | None = None

    def on_period(self) -> None:
        """Evaluate, and save the agent if it is the best so far."""
        with self.status.clock.evaluation():
            self._evaluate()

    def _evaluate(self) -> None:
        game, values, status = self.run.game, self.run.hyperparams, self.status
        if self._states is None:
            self._states = held_out_states(game, values, evaluation_seed(self.protocol.seed))
        seed = evaluation_seed(self.protocol.seed, self.num_timesteps)
        protocol = replace(self.protocol, seed=seed)
        scores = protocol.play(self.model, game, values, lambda: status.stop_requested)
        status.evaluation_cut_short = len(scores.scores) < protocol.episodes
        if status.evaluation_cut_short:
            return
        max_q = mean_max_q(self.model, self._states)
        row = (self.num_timesteps, scores.scores, scores.frames, max_q)
        for name, value in zip(COLUMNS, row, strict=True):
            self._made[name].append(value)
        with atomic_file(self.run.path / EVALUATIONS_FILE) as file:
            np.savez(file, **self._made)  # type: ignore[arg-type]  # allow_pickle is no column
        self._log(scores, max_q)
        if scores.mean > self._best_saved:
            save_agent(self.model, self.run.path / BEST)
            self._best_saved = scores.mean

    def _on_training_start(self) -> None:
        """Read what a resumed training has evaluated."""
        file = self.run.path / EVALUATIONS_FILE
        if file.is_file():
            with np.load(file) as content:
                self._made = {name: content[name].tolist() for name in COLUMNS}
        if (self.run.path / BEST).is_file():
            self._best_saved = max(self.means, default=-np.inf)

    def seconds_to_come(self, total: int) -> float:
        """Estimated seconds of the evaluations to come, from the mean of those before.

        :param total: the run's budget in steps
        """
        to_come = total // self.freq - self.num_timesteps // self.freq
        return to_come * self.status.clock.seconds_per_evaluation

    @property
    def means(self) -> list[float]:
        """Mean score of each evaluation so far."""
        return [float(np.mean(scores)) for scores in self._made["results"]]

    @property
    def best(self) -> float | None:
        """Mean score of the best evaluation."""
        return max(self.means, default=None)

    def _log(self, scores: Scores, max_q: float) -> None:
        self.logger.record("eval/mean_score", scores.mean)
        self.logger.record("eval/std_score", scores.std)
        self.logger.record("eval/median_score", float(np.median(scores.scores)))
        self.logger.record("eval/mean_max_q", max_q)
        self.logger.record("eval/scores", scores.scores, exclude=NUMBER_FORMATS)
        self.logger.dump(self.num_timesteps)
        say(
            f"step {self.num_timesteps:,}: evaluation {scores.mean:.1f} ± {scores.std:.1f} points"
            f" (full games: {len(scores.scores)}, epsilon {self.protocol.epsilon}),"
            f" mean max Q {max_q:.3f}"
        )
