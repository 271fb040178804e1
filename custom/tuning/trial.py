"""One trial: a training at a point of the space, in its own process.

    echo '{"url": ..., "study": ..., ...}' | python -m custom.tuning.trial

Where memory runs out, that ends this process and nothing else.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import optuna
import torch as th
from optuna.trial import Trial
from stable_baselines3.common.callbacks import BaseCallback

from custom.learner.engine import Engine
from custom.system import signals
from custom.system.errors import NonFiniteError, UserError, one_line
from custom.training.prepare import Training, prepare
from custom.training.settings import Settings
from custom.training.train import train
from custom.tuning.study import RUN, SEED, Plan, TrialFailedError, load, plan_of, run_trial

RUNS = "trials"  # the recipe's name in their run folders
ITS_OWN = (NonFiniteError, MemoryError, th.OutOfMemoryError)  # errors that lie in a trial's values


class Report(BaseCallback):
    """Reports each evaluation to the study, and ends a training that is pruned."""

    def __init__(self, trial: Trial, plan: Plan, training: Training) -> None:
        super().__init__()
        self.trial = trial
        self.plan = plan
        self.training = training
        self.reported = 0
        self.pruned = False

    def _on_step(self) -> bool:
        means = self.training.evaluation.means
        if len(means) > self.reported:
            self.reported = len(means)
            self.trial.report(means[-1], self.reported)
            is_last = self.reported >= self.plan.evaluations
            if not is_last and self.trial.should_prune():
                self.pruned = True
                self.training.status.request_stop()
        return not self.pruned


def train_trial(plan: Plan, asked: dict[str, Any], trial: Trial) -> float:
    """Train at a trial's point; return the mean score of the last evaluation.

    :param asked: what the process was told
    :raises optuna.TrialPruned: it was ended early
    :raises TrialFailedError: values are refused, numbers not finite, or memory does not suffice
    :raises KeyboardInterrupt: it was stopped
    """
    settings = Settings(
        seed=trial.user_attrs[SEED],
        logs=Path(asked["logs"]),
        device=asked["device"],
        eval_freq=plan.steps // plan.evaluations,
        eval_episodes=plan.episodes,
        save_state=False,
        engine=Engine(n_envs=plan.n_envs, threads=asked["threads"]),
    )
    chosen = plan.space.suggest(trial)
    try:
        recipe = replace(plan.recipe_of(RUNS, chosen), file=Path(f"trial {trial.number}"))
        training = prepare(recipe, plan.game, settings)
    except (UserError, *ITS_OWN) as error:
        raise TrialFailedError(one_line(error)) from None
    try:
        trial.set_user_attr(RUN, str(training.run.path))
        report = Report(trial, plan, training)
        status = train(replace(training, callbacks=(*training.callbacks, report)))
    except ITS_OWN as error:
        raise TrialFailedError(one_line(error)) from None
    if status:
        raise KeyboardInterrupt
    if report.pruned:
        raise optuna.TrialPruned
    means = training.evaluation.means
    assert len(means) >= plan.evaluations
    return means[-1]


def main(text: str) -> None:
    """Claim a trial and train it."""
    asked = json.loads(text)
    study = load(asked["url"], asked["study"])
    with TemporaryFile(dir=asked["logs"]) as file:  # a full disk is no trial's fault
        file.write(bytes(2**20))
        file.flush()
    run_trial(study, asked["url"], partial(train_trial, plan_of(study), asked))


if __name__ == "__main__":
    signals.end_on_signals()
    try:
        main(sys.stdin.read())
    except KeyboardInterrupt:
        sys.exit(130)
