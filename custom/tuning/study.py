"""A study: begun once, its trials claimed one by one by processes of any machine.

Optuna's heartbeats tell which trials were killed, and its retry callback queues their values and
seed again.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable
from contextlib import ExitStack

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from custom.system.errors import UserError
from custom.tuning.plan import Plan
from custom.tuning.storage import connect, file_of, one_line_errors, shown, storage_lock

# Attributes of a study: what it is about; how its finalists did.
PLAN, RANKING = "plan", "ranking"
# Attributes of a trial: its number, with the machine and process that claimed it; the seed of its
# training; its run folder; why it could not be trained.
PROCESS, SEED, RUN, REASON = "process", "seed", "run", "reason"


class TrialFailedError(Exception):
    """A trial cannot be trained, which another attempt would not change; the message says why."""


def begin(url: str, name: str, plan: Plan) -> optuna.Study:
    """Open a study, or begin it with the recipe itself as its first trial.

    :raises UserError: there is another one of that name, or the storage cannot be used
    """
    _quiet()
    with one_line_errors(url), storage_lock(url):
        study = optuna.create_study(
            storage=connect(url), study_name=name, direction="maximize", load_if_exists=True
        )
        if not study.trials:
            study.set_user_attr(PLAN, plan.to_json())
            study.enqueue_trial(plan.space.recipe_point())
    plan.check_same(plan_of(study), name)
    return study


def load(url: str, name: str) -> optuna.Study:
    """Open a study.

    :raises UserError: there is none of that name, or the storage cannot be used
    """
    _quiet()
    none = UserError(f"STUDY {name}: there is none in {shown(url)}; make tune begins one")
    if (file := file_of(url)) and not file.exists():
        raise none
    with one_line_errors(url):
        try:
            return optuna.load_study(study_name=name, storage=connect(url))
        except KeyError:
            raise none from None


def _quiet() -> None:
    """Trials are reported in this project's words; heartbeats are called experimental."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)


def plan_of(study: optuna.Study) -> Plan:
    """What a study is about.

    :raises UserError: it is another program's
    """
    if PLAN not in study.user_attrs:
        raise UserError(f"STUDY {study.study_name}: is not of make tune; name another one")
    return Plan.from_json(study.user_attrs[PLAN])


def results(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count: complete, pruned, or failed for their own reason.

    One that was stopped or killed is retried, and else another one takes its place.
    """

    def counts(trial: FrozenTrial) -> bool:
        if trial.state is TrialState.FAIL:
            return REASON in trial.user_attrs
        return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)

    return [trial for trial in trials if counts(trial)]


def best_first(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Complete trials, the best first."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-float(trial.value or 0.0), trial.number))


def is_full(trials: list[FrozenTrial], n_trials: int) -> bool:
    """Whether those that run now will bring all results that are asked for."""
    running = sum(trial.state is TrialState.RUNNING for trial in trials)
    return len(results(trials)) + running >= n_trials


def run_trial(
    study: optuna.Study, url: str, n_trials: int, train: Callable[[Trial], float]
) -> None:
    """Claim a trial and train it, unless the study is full.

    :param n_trials: results of the study, from all machines together
    :param train: returns the value of a trial, whose attribute `SEED` is the training's
    :raises: what `train` raises and is neither `TrialPruned` nor `TrialFailedError`; the trial is
        queued again
    """
    claimed: list[Trial] = []
    with ExitStack() as lock:
        lock.enter_context(storage_lock(url))
        retry_killed(study)
        trials = study.get_trials(deepcopy=False)
        if is_full(trials, n_trials):
            return
        plan, place = plan_of(study), _place(trials)
        seed = plan.seed_of(place)
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
        study.pruner = pruner(plan)

        def objective(trial: Trial) -> float:
            claimed.append(trial)
            trial.set_user_attr(PROCESS, [trial.number, socket.gethostname(), os.getpid()])
            trial.set_user_attr(SEED, trial.user_attrs.get(SEED, seed))  # a retry has its own
            lock.close()
            try:
                return train(trial)
            except TrialFailedError as error:
                trial.set_user_attr(REASON, str(error))
                raise

        try:
            study.optimize(objective, n_trials=1, catch=(TrialFailedError,))
        except BaseException:
            for trial in claimed:
                _retry(study, trial.number)
            raise


def retry_killed(study: optuna.Study) -> None:
    """Fail the trials of killed processes and queue them again; the caller holds the lock."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        number, *_ = trial.user_attrs.get(PROCESS, [None])  # a retry begins with its forerunner's
        if number != trial.number:  # killed before its first heartbeat: Optuna overlooks it
            _retry(study, trial.number)
    fail_stale_trials(study)


def _retry(study: optuna.Study, number: int) -> None:
    """Fail a trial, and queue the same values again if nobody has."""
    study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
    history_of = RetryHeartbeatStaleTrialCallback.retry_history
    if not any(number in history_of(trial) for trial in study.get_trials(deepcopy=False)):
        RetryHeartbeatStaleTrialCallback()(study, study.trials[number])


def _place(trials: list[FrozenTrial]) -> int:
    """Trials that were claimed before, retries not counted: the same however often one stopped."""
    original = RetryHeartbeatStaleTrialCallback.retried_trial_number
    claimed = (trial for trial in trials if trial.state is not TrialState.WAITING)
    return sum(original(trial) is None for trial in claimed)


def pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """What ends a trial early, by the mean score of each evaluation."""
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=3)
    return optuna.pruners.NopPruner()
