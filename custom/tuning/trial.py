"""One trial: a training at a point of the space, in a process of its own.

    echo '{"url": ..., "study": ..., ...}' | python -m custom.tuning.trial

A process of its own, because memory that runs out ends it and nothing else, and because the next
trial finds nothing of this one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

import optuna
import torch as th
from optuna.trial import Trial
from stable_baselines3.common.callbacks import BaseCallback

from custom import signals
from custom.errors import NonFiniteError, UserError
from custom.experiment import Experiment, build
from custom.recipe_values import RecipeError
from custom.settings import Settings
from custom.training import train
from custom.tuning.plan import Plan
from custom.tuning.storage import insist
from custom.tuning.study import TrialFailedError, load, plan_of, run_one

DONE, NOTHING_LEFT = 0, 3  # exit statuses
RUNS = "trials"  # the recipe's name of their run folders


class Report(BaseCallback):
    """Tells the study of each evaluation, and ends a training that is pruned."""

    def __init__(self, trial: Trial, plan: Plan, experiment: Experiment) -> None:
        super().__init__()
        self.trial = trial
        self.plan = plan
        self.experiment = experiment
        self.means: list[float] = []
        self.pruned = False

    def _on_step(self) -> bool:
        assert self.experiment.evaluation is not None
        found = self.experiment.evaluation.means
        while len(self.means) < len(found) and not self.pruned:
            self.means.append(found[len(self.means)])
            insist(partial(self.trial.report, self.plan.value(self.means), len(self.means)))
            last = len(self.means) == self.plan.evaluations
            if not last and insist(self.trial.should_prune):
                self.pruned = self.experiment.stop.requested = True
        return not self.pruned


def train_trial(trial: Trial, original: int, plan: Plan, logs: Path, device: str) -> float:
    """Train at a trial's point; the value of the objective.

    :param original: its seeds follow from it
    :raises TrialFailedError: numbers that are not finite, no memory, values that are refused
    :raises optuna.TrialPruned: it was ended early
    :raises KeyboardInterrupt: it was stopped, and is to be done again
    """
    seed = plan.trial_seed(original)
    settings = Settings(
        seed=seed,
        logs=logs,
        device=device,
        eval_freq=plan.steps // plan.evaluations,
        eval_episodes=plan.episodes,
        save_freq=plan.steps,
        keep_checkpoints=1,
        engine=plan.engine,
    )
    trial.set_user_attr("seed", seed)
    chosen = plan.space.suggest(trial)
    with _failing():
        recipe = replace(plan.recipe_of(RUNS, chosen), file=Path(f"trial {trial.number}"))
        experiment, model = build(recipe, plan.game, settings)
    assert experiment.run is not None
    trial.set_user_attr("run", str(experiment.run.path))
    report = Report(trial, plan, experiment)
    experiment.callbacks.append(report)
    with _failing():
        try:
            status = train(experiment, model)
        except UserError as error:
            if isinstance(error, NonFiniteError):
                raise
            raise RuntimeError(str(error)) from None  # a full disk, say: nothing of the trial's
    if status:
        raise KeyboardInterrupt
    if report.pruned:
        raise optuna.TrialPruned
    if len(report.means) < plan.evaluations:
        raise RuntimeError(f"{len(report.means)} of {plan.evaluations} evaluations were made")
    return plan.value(report.means)


@contextmanager
def _failing() -> Iterator[None]:
    """What lies in a trial's values, as a reason."""
    try:
        yield
    except (UserError, RecipeError, MemoryError, th.OutOfMemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise TrialFailedError(text) from None


def main(text: str) -> int:
    """Claim a trial and train it."""
    asked = json.loads(text)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = load(asked["url"], asked["study"])
    plan = plan_of(study)
    plan = replace(plan, engine=replace(plan.engine, threads=asked["threads"]))
    logs = Path(asked["logs"])
    logs.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=logs):  # or every trial would fail for what is no fault of its own
        pass

    def objective(trial: Trial, original: int) -> float:
        return train_trial(trial, original, plan, logs, asked["device"])

    claimed = run_one(study, asked["url"], asked["n_trials"], objective)
    return DONE if claimed else NOTHING_LEFT


if __name__ == "__main__":
    signals.end_on_signals()
    try:
        sys.exit(main(sys.stdin.read()))
    except KeyboardInterrupt:
        sys.exit(130)
