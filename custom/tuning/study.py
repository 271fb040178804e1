"""A study in its storage: begun once, its trials claimed one by one."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from custom.errors import UserError
from custom.provenance import now
from custom.tuning.ledger import (
    BEAT,
    REASON,
    STOPPED,
    begin_process,
    next_original,
    progress,
    settle,
)
from custom.tuning.plan import Plan
from custom.tuning.storage import alone, insist, open_storage, refusing

PLAN, BEGUN = "plan", "begun"
BEATS = 15.0  # seconds between two signs of life of a trial


class TrialFailedError(Exception):
    """A trial has no score for a reason of its own, which the message says."""


class MachineError(Exception):
    """What a trial needs is not there, a disk with room for one; it says nothing of the trial."""


def begin(url: str, name: str, plan: Plan) -> optuna.Study:
    """A study, made where there is none, with the recipe itself as its first trial.

    :raises UserError: the one that is there is about something else
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # trials are told of in our words
    storage = open_storage(url)
    with refusing(url), alone(url):
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        if PLAN not in study.user_attrs:
            if study.trials or study.direction is not StudyDirection.MAXIMIZE:
                raise UserError(f"STUDY {name}: is not of make tune; name another one with STUDY=")
            study.set_user_attr(PLAN, plan.to_json())
            study.set_user_attr(BEGUN, now())
        if not study.trials:
            study.enqueue_trial(plan.space.own())
    plan.check_same(plan_of(study), name)
    return study


def load(url: str, name: str) -> optuna.Study:
    """A study that is there.

    :raises UserError: it is not
    """
    try:
        study = optuna.load_study(study_name=name, storage=open_storage(url, create=False))
    except KeyError:
        raise UserError(f"STUDY {name}: there is none of that name; make tune begins one") from None
    if PLAN not in study.user_attrs:
        raise UserError(f"STUDY {name}: is not of make tune")
    return study


def plan_of(study: optuna.Study) -> Plan:
    """What a study is about."""
    return Plan.from_json(study.user_attrs[PLAN])


def run_one(
    study: optuna.Study, url: str, n_trials: int, train: Callable[[Trial, int], float]
) -> bool:
    """Claim a trial and see to its end.

    :param n_trials: of the study; no more are begun
    :param train: is given the trial and the number that its seeds follow from, and says its value
    :return: whether there was one to claim
    """
    with ExitStack() as claim:
        claim.enter_context(alone(url))
        settle(study)
        trials = study.get_trials(deepcopy=False)
        so_far = progress(trials)
        if so_far.done + so_far.running >= n_trials:
            return False
        original, plan = next_original(trials), plan_of(study)
        study.sampler, study.pruner = sampler(plan, original), pruner(plan)
        trial = study.ask()
        begin_process(trial)
    with _beating(trial):
        _see_to_its_end(study, trial, lambda: train(trial, original))
    return True


def _see_to_its_end(study: optuna.Study, trial: Trial, train: Callable[[], float]) -> None:
    """Train and tell the outcome; what is no outcome fails without a reason, and is repeated."""

    def tell(value: float | None = None, state: TrialState | None = None) -> None:
        insist(lambda: study.tell(trial, value, state, skip_if_finished=True))

    try:
        tell(train())
    except optuna.TrialPruned:
        tell(state=TrialState.PRUNED)
    except TrialFailedError as error:
        reason = " ".join(str(error).split())
        insist(lambda: trial.set_user_attr(REASON, reason))
        tell(state=TrialState.FAIL)
    except (KeyboardInterrupt, SystemExit, OSError, MachineError):
        trial.set_user_attr(STOPPED, True)
        tell(state=TrialState.FAIL)
        raise
    except Exception:
        tell(state=TrialState.FAIL)
        raise


@contextmanager
def _beating(trial: Trial) -> Iterator[None]:
    """Give signs of life, from a thread; where the storage is away, again when it is back."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(BEATS):
            count += 1
            try:
                trial.set_user_attr(BEAT, count)
            except Exception:  # the next one may arrive
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def sampler(plan: Plan, original: int) -> optuna.samplers.BaseSampler:
    """TPE; each trial has a seed of its own, whoever asks for it and however often."""
    seed = int(np.random.SeedSequence([plan.seed, original]).generate_state(1)[0])
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
