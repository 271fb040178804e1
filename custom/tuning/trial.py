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
from typing import Any

import optuna
import torch as th
from optuna.trial import Trial
from stable_baselines3.common.callbacks import BaseCallback

from custom import signals
from custom.atomic import remove
from custom.console import say
from custom.errors import NonFiniteError, UserError
from custom.recipe.recipe import Recipe
from custom.runs import open_run
from custom.training.prepare import Training, prepare
from custom.training.resume import can_go_on, is_of, resume
from custom.training.saved_state import can_be_saved
from custom.training.settings import Settings, fitted
from custom.training.train import train
from custom.tuning.ledger import RUN, folders_of
from custom.tuning.plan import Plan
from custom.tuning.storage import insist
from custom.tuning.study import MachineError, TrialFailedError, load, plan_of, run_one

DONE, NOTHING_LEFT = 0, 3  # exit statuses
RUNS = "trials"  # the recipe's name of their run folders


class Report(BaseCallback):
    """Tells the study of each evaluation, and ends a training that is pruned."""

    def __init__(self, trial: Trial, plan: Plan, training: Training) -> None:
        super().__init__()
        self.trial = trial
        self.plan = plan
        self.training = training
        self.means: list[float] = []
        self.pruned = False

    def _on_step(self) -> bool:
        found = self.training.evaluation.means
        while len(self.means) < len(found) and not self.pruned:
            self.means.append(found[len(self.means)])
            insist(partial(self.trial.report, self.plan.value(self.means), len(self.means)))
            last = len(self.means) == self.plan.evaluations
            if not last and insist(self.trial.should_prune):
                self.pruned = True
                self.training.status.request_stop()
        return not self.pruned


def train_trial(trial: Trial, plan: Plan, settings: Settings, earlier: Path | None) -> float:
    """Train at a trial's point; the value of the objective.

    :param earlier: run folder of the trial that this one repeats, if any
    :raises TrialFailedError: numbers that are not finite, no memory, values that are refused
    :raises optuna.TrialPruned: it was ended early
    :raises KeyboardInterrupt: it was stopped, and is to be done again
    """
    chosen = plan.space.suggest(trial)
    with _failing():
        recipe = replace(plan.recipe_of(RUNS, chosen), file=Path(f"trial {trial.number}"))
        begun = _gone_on_with(earlier, recipe, settings)
        training = begun or prepare(recipe, plan.game, settings)
    run = training.run
    trial.set_user_attr("seed", run.facts["seed"])
    trial.set_user_attr(RUN, str(run.path))
    report = Report(trial, plan, training)
    training = replace(training, callbacks=(*training.callbacks, report))
    try:
        status = _train(training)
    except TrialFailedError:
        remove(run.saved_state)
        raise
    if status:
        raise KeyboardInterrupt
    if report.pruned:
        remove(run.saved_state)
        raise optuna.TrialPruned
    if len(report.means) < plan.evaluations:
        raise RuntimeError(f"{len(report.means)} of {plan.evaluations} evaluations were made")
    return plan.value(report.means)


def settings_of(plan: Plan, asked: dict[str, Any], original: int) -> Settings:
    """How a trial is trained.

    :param asked: what the process was told
    :param original: its seeds follow from it
    """
    return Settings(
        seed=plan.trial_seed(original),
        logs=Path(asked["logs"]),
        device=asked["device"],
        eval_freq=plan.steps // plan.evaluations,
        eval_episodes=plan.episodes,
        keep_checkpoints=1,
        save_state=asked["save_state"]
        and can_be_saved(plan.engine, plan.hyperparams.get("replay_buffer_class", "")),
        engine=replace(plan.engine, threads=asked["threads"]),
    )


def _gone_on_with(earlier: Path | None, recipe: Recipe, settings: Settings) -> Training | None:
    """The training that was broken off, if it is this one."""
    try:
        run = open_run(earlier) if earlier else None
        if run is None or not is_of(run, fitted(recipe, settings.engine), settings):
            return None
        if run.is_locked() or can_go_on(run):
            return resume(run, settings.device)
    except UserError as error:
        say(f"it begins anew: {error}")
    return None


def _train(training: Training) -> int:
    with _failing():
        try:
            return train(training)
        except UserError as error:
            if isinstance(error, NonFiniteError):
                raise
            raise MachineError(str(error)) from None


@contextmanager
def _failing() -> Iterator[None]:
    """What lies in a trial's values, as a reason."""
    try:
        yield
    except (UserError, ValueError, MemoryError, th.OutOfMemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise TrialFailedError(text) from None


def main(text: str) -> int:
    """Claim a trial and train it."""
    asked = json.loads(text)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = load(asked["url"], asked["study"])
    plan = plan_of(study)
    logs = Path(asked["logs"])
    logs.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=logs):  # or every trial would fail for what is no fault of its own
        pass

    def objective(trial: Trial, original: int) -> float:
        earlier = next(iter(folders_of(trial.number, study.get_trials(deepcopy=False))), None)
        return train_trial(trial, plan, settings_of(plan, asked, original), earlier)

    claimed = run_one(study, asked["url"], asked["n_trials"], objective)
    return DONE if claimed else NOTHING_LEFT


if __name__ == "__main__":
    signals.end_on_signals()
    try:
        sys.exit(main(sys.stdin.read()))
    except KeyboardInterrupt:
        sys.exit(130)
