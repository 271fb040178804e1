"""A study: what it is about, and its trials, claimed one by one by processes of any machine.

The plan is kept in the study, so that every machine does the same. Optuna's heartbeats tell which
trials were killed, and its retry callback queues their values and seed again.
"""

import json
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from custom.recipe.check import check
from custom.recipe.games import Game, find_game
from custom.recipe.recipe import Recipe
from custom.system.errors import UserError
from custom.tuning.space import Space, space_of
from custom.tuning.storage import connect, file_of, one_line_errors, shown, storage_lock

# Attributes of a study: what it is about; how its finalists did.
PLAN, RANKING = "plan", "ranking"
# Attributes of a trial: the seed of its training; its run folder; why it could not be trained.
SEED, RUN, REASON = "seed", "run", "reason"
FINALISTS = 10**6  # numbers of their runs begin here: no trial has one of their seeds
RETRIES = 2  # of a trial that was stopped or killed


class TrialFailedError(Exception):
    """A trial cannot be trained, which another attempt would not change; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What a study is about. A trial's value is the mean score of its last evaluation.

    :param recipe: its name
    :param hyperparams: of the recipe, checked, with the budget of a trial
    :param seed: the seeds of all trials and finalists follow from it
    :param evaluations: in each trial, the last one at its end
    :param episodes: full games in each evaluation
    :param search: names of the dimensions that are searched; empty: all that the recipe has
    :param n_envs: games at once; 0: the recipe's number
    """

    env_id: str
    recipe: str
    algo: str
    hyperparams: dict[str, Any]
    seed: int = 0
    evaluations: int = 5
    episodes: int = 10
    search: list[str] = field(default_factory=list)
    n_envs: int = 0

    @property
    def game(self) -> Game:
        """The game that is trained."""
        return find_game(self.env_id)

    @property
    def steps(self) -> int:
        """Budget of a trial."""
        return int(self.hyperparams["n_timesteps"])

    @property
    def space(self) -> Space:
        """What is searched."""
        return space_of(self.hyperparams, self.algo, self.search)

    def recipe_of(self, name: str, chosen: dict[str, Any]) -> Recipe:
        """The recipe at a point of the space."""
        values = check(self.space.resolve(chosen), self.algo)
        recipe = Recipe(name, self.algo, Path(f"{name}.yml"), values)
        return recipe.with_budget(self.steps)  # as make train reads it from a file

    def seed_of(self, number: int) -> int:
        """The seed of a trial, or of a finalist's run, which are numbered from `FINALISTS` on."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0] >> 1)


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
            study.set_user_attr(PLAN, asdict(plan))
            study.enqueue_trial(plan.space.recipe_point())
    plans = (json.loads(json.dumps(asdict(each))) for each in (plan, plan_of(study)))
    asked, was = ({**each, **each["hyperparams"]} for each in plans)
    for key in sorted({*asked, *was} - {"hyperparams"}):
        if asked.get(key) != was.get(key):
            raise UserError(
                f"STUDY {name} was begun with {key} {was.get(key)}, now it is {asked.get(key)};"
                " name another one with STUDY="
            )
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
    return Plan(**study.user_attrs[PLAN])


def results(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count: complete, pruned, or failed for their own reason.

    One that was stopped or killed is retried; after `RETRIES` another one takes its place.
    """
    ends = (TrialState.COMPLETE, TrialState.PRUNED)
    return [trial for trial in trials if trial.state in ends or REASON in trial.user_attrs]


def best_first(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Complete trials, the best first."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-float(trial.value or 0.0), trial.number))


def run_trial(study: optuna.Study, url: str, train: Callable[[Trial], float]) -> None:
    """Claim a trial and train it.

    :param train: returns the value of a trial, whose attribute `SEED` is the training's
    :raises: what `train` raises and is neither `TrialPruned` nor `TrialFailedError`; the next call
        queues the trial again
    """
    plan = plan_of(study)
    with ExitStack() as lock:
        lock.enter_context(storage_lock(url))
        seed = plan.seed_of(_retry_stopped(study))
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        study.pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=3)

        def objective(trial: Trial) -> float:
            trial.set_user_attr(SEED, trial.user_attrs.get(SEED, seed))  # a retry has its own
            lock.close()
            try:
                return train(trial)
            except TrialFailedError as error:
                trial.set_user_attr(REASON, str(error))
                raise

        study.optimize(objective, n_trials=1, catch=(TrialFailedError,))


def _retry_stopped(study: optuna.Study) -> int:
    """Queue the values of stopped and killed trials again; the caller holds the lock.

    :return: trials that were claimed before, retries not counted: the same however often one
        stopped
    """
    fail_stale_trials(study)
    trials, history_of = study.trials, RetryHeartbeatStaleTrialCallback.retry_history
    retried = {number for trial in trials for number in history_of(trial)}
    for trial in trials:
        stopped = trial.state is TrialState.FAIL and REASON not in trial.user_attrs
        if stopped and trial.number not in retried:
            RetryHeartbeatStaleTrialCallback(RETRIES)(study, trial)
    return sum(trial.state is not TrialState.WAITING and not history_of(trial) for trial in trials)
