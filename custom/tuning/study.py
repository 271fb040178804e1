"""A study in its storage: begun once, its trials claimed one by one, those of the dead given on."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState

from custom.errors import UserError
from custom.tuning.plan import Plan
from custom.tuning.storage import DEATHS, REPEATED, REPEATS, alone, open_storage, repeat

PLAN, PROCESS, REASON, SEED_OF = "plan", "process", "reason", "seed_of"
OVER = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    :param done: trials with a result: complete, pruned, or failed for reasons of their own
    :param running: trials that a process is at
    :param waiting: trials that wait for one
    """

    done: int
    running: int
    waiting: int


def begin(url: str, name: str, plan: Plan) -> optuna.Study:
    """A study, made where there is none, with the recipe itself as its first trial.

    :raises UserError: the one that is there is about something else
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # trials are told of in our words
    storage = open_storage(url)
    with alone(url):
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        if PLAN not in study.user_attrs:
            study.enqueue_trial(plan.space.own(), user_attrs={"is": "the recipe itself"})
            study.set_user_attr(PLAN, plan.to_json())
    plan.check_same(plan_of(study), name)
    return study


def load(url: str, name: str) -> optuna.Study:
    """A study that is there.

    :raises UserError: it is not
    """
    try:
        return optuna.load_study(study_name=name, storage=open_storage(url))
    except KeyError:
        raise UserError(f"STUDY {name}: there is none of that name; make tune begins one") from None


def plan_of(study: optuna.Study) -> Plan:
    """What a study is about."""
    return Plan.from_json(study.user_attrs[PLAN])


def progress(study: optuna.Study) -> Progress:
    """How far a study is."""
    trials = study.get_trials(deepcopy=False)
    states = [trial.state for trial in trials]
    return Progress(
        sum(map(has_result, trials)),
        states.count(TrialState.RUNNING),
        states.count(TrialState.WAITING),
    )


def has_result(trial: FrozenTrial) -> bool:
    """Whether a trial counts: one that was killed does so only when it is not tried again."""
    if trial.state is TrialState.FAIL:
        killed: int = trial.user_attrs.get(DEATHS, 0)
        return bool(REASON in trial.user_attrs or killed >= REPEATS)
    return trial.state in OVER


def give_on(study: optuna.Study) -> list[int]:
    """Give trials whose process has gone to whoever asks next.

    A process of this machine is known to have gone at once; one of another after `GRACE` seconds
    without a sign of life.

    :return: their numbers
    """
    found = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _has_gone(trial):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, RuntimeError, optuna.exceptions.OptunaError):
                continue  # somebody else was faster
            repeat(study, trial)
            found.append(trial.number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    return found


def _has_gone(trial: FrozenTrial) -> bool:
    host, pid, began = trial.user_attrs.get(PROCESS, ("", 0, ""))
    gone: bool = host == socket.gethostname() and began != start_of(pid)
    return gone


def start_of(pid: int) -> str:
    """When a process began, by which it is told from a later one of the same number."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, *rest = file.read().rpartition(")")[2].split()
            return "" if state == "Z" else rest[18]
    except FileNotFoundError:
        return ""
    except OSError:  # a system without /proc
        return ""


def run_one(study: optuna.Study, url: str, n_trials: int, train: Callable[[Trial], float]) -> bool:
    """Claim a trial and see to its end.

    :param n_trials: of the study; no more are begun
    :param train: says its value; `optuna.TrialPruned` and errors as Optuna takes them
    :return: whether there was one to claim
    """
    plan = plan_of(study)

    def claimed(trial: Trial) -> float:
        me = os.getpid()
        trial.set_user_attr(PROCESS, (socket.gethostname(), me, start_of(me)))
        claim.close()
        try:
            return train(trial)
        except KeyboardInterrupt:
            repeat(study, study.trials[trial.number], deaths=0)
            raise

    with ExitStack() as claim:
        claim.enter_context(alone(url))
        give_on(study)
        now = progress(study)
        if not now.waiting and now.done + now.running >= n_trials:
            return False
        study.sampler = sampler(plan, len(study.get_trials(deepcopy=False)))
        study.pruner = pruner(plan)
        study.optimize(claimed, n_trials=1, catch=(Exception,))
        return True


def number_of(trial: Trial | FrozenTrial) -> int:
    """A trial's number, or that of the one that it repeats: its seeds follow from it."""
    return int(trial.user_attrs.get(REPEATED, trial.number))


def sampler(plan: Plan, asked: int) -> optuna.samplers.BaseSampler:
    """TPE; each trial has a seed of its own, whoever asks for it.

    :param asked: trials that there are
    """
    seed = int(np.random.SeedSequence([plan.seed, asked]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            multivariate=True,
            group=True,
            constant_liar=True,
        )


def pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """What ends a trial early: by the study's own measure, after each evaluation."""
    if plan.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(max_resource=plan.evaluations)
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=3)
    return optuna.pruners.NopPruner()


def reason_of(trial: FrozenTrial) -> str:
    """Why a trial failed."""
    return str(trial.user_attrs.get(REASON) or "its process ended before it did")
