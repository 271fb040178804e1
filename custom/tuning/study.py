"""A study: begun once, its trials claimed one by one by processes of any machine.

Optuna's heartbeats tell which trials were killed, and its retry callback queues their values again.
A trial's random numbers follow from its place in the study, which retries share.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from custom.runs.provenance import now
from custom.system.errors import UserError
from custom.tuning.plan import Plan
from custom.tuning.storage import check, connect, one_line_errors, storage_lock

# Attributes of a study: what it is about; when it was begun; how its finalists did.
PLAN, BEGUN, RANKING = "plan", "begun", "ranking"
# Attributes of a trial: its number, with the machine and process that claimed it; why it could not
# be trained; its run folder.
PROCESS, REASON, RUN = "process", "reason", "run"


class TrialFailedError(Exception):
    """A trial cannot be trained, which another attempt would not change; the message says why."""


def begin(url: str, name: str, plan: Plan) -> optuna.Study:
    """Open a study, or begin it with the recipe itself as its first trial.

    :raises UserError: there is another one of that name, or the storage cannot be used
    """
    _quiet()
    with one_line_errors(url):
        check(url, create=True)
        with storage_lock(url):
            study = optuna.create_study(
                storage=connect(url), study_name=name, direction="maximize", load_if_exists=True
            )
            if PLAN not in study.user_attrs:
                if study.trials or study.direction is not StudyDirection.MAXIMIZE:
                    raise UserError(f"STUDY {name}: is not of make tune; name another with STUDY=")
                study.set_user_attr(PLAN, plan.to_json())
                study.set_user_attr(BEGUN, now())
            if not study.trials:
                study.enqueue_trial(plan.space.recipe_point())
    plan.check_same(plan_of(study), name)
    return study


def load(url: str, name: str) -> optuna.Study:
    """Open a study.

    :raises UserError: there is none of that name, or the storage cannot be used
    """
    _quiet()
    with one_line_errors(url):
        check(url, create=False)
        try:
            study = optuna.load_study(study_name=name, storage=connect(url))
        except KeyError:
            raise UserError(f"STUDY {name}: there is none; make tune begins one") from None
    if PLAN not in study.user_attrs:
        raise UserError(f"STUDY {name}: is not of make tune")
    return study


def _quiet() -> None:
    """Trials are reported in this project's words; heartbeats are called experimental."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)


def plan_of(study: optuna.Study) -> Plan:
    """What a study is about."""
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
    study: optuna.Study, url: str, n_trials: int, train: Callable[[Trial, int], float]
) -> None:
    """Claim a trial and train it, unless the study is full.

    :param n_trials: results of the study, from all machines together
    :param train: returns the value of a trial, given it and its place
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
        plan, place = plan_of(study), next_place(trials)
        study.sampler, study.pruner = sampler(plan, place), pruner(plan)

        def objective(trial: Trial) -> float:
            claimed.append(trial)
            trial.set_user_attr(PROCESS, [trial.number, socket.gethostname(), os.getpid()])
            lock.close()
            try:
                return train(trial, place)
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


def next_place(trials: list[FrozenTrial]) -> int:
    """The place of the trial that is claimed next."""
    waiting = (trial for trial in trials if trial.state is TrialState.WAITING)
    first = next((_first_attempt(trial) for trial in waiting), len(trials))
    return sum(_first_attempt(trial) == trial.number for trial in trials[:first])


def _first_attempt(trial: FrozenTrial) -> int:
    number = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if number is None else number


def sampler(plan: Plan, place: int) -> optuna.samplers.BaseSampler:
    """TPE; each trial has its own seed, whichever process samples it, and however often."""
    seed = int(np.random.SeedSequence([plan.seed, place]).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """What ends a trial early, by the objective after each evaluation."""
    if plan.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(max_resource=plan.evaluations)
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=3)
    return optuna.pruners.NopPruner()
