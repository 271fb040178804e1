"""A whole search: begin or resume the study, run trials in processes, rank the finalists."""

from __future__ import annotations

import argparse
import json
import os
from itertools import count
from pathlib import Path

import optuna
from gymnasium import spaces
from optuna.trial import FrozenTrial, TrialState

from custom.compare.report import write_report
from custom.env.games import make_games
from custom.env.workers import usable_cores
from custom.jobs.cluster import launcher
from custom.jobs.task import Launcher, Resources, Task, run_all
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.replay.memory import largest_replay
from custom.system.console import say
from custom.system.errors import UserError
from custom.tuning.files import write_files
from custom.tuning.finalists import finalists, matrix_of, rank
from custom.tuning.plan import Plan
from custom.tuning.storage import GRACE, address, one_line_errors, shown, storage_lock
from custom.tuning.study import (
    RANKING,
    REASON,
    begin,
    best_first,
    is_full,
    plan_of,
    results,
    retry_killed,
)

CRASHES = 3  # of each job, in a row, end a search: something other than a trial is wrong
RESUMES = "the same command resumes the search"


def tune(args: argparse.Namespace, game: Game, recipe: Recipe, name: str, folder: Path) -> None:
    """Begin or resume a study, search, rank the finalists.

    :param args: the flags of `make tune`
    :param name: of the study
    :param folder: of the study on this machine
    """
    fits = replay_that_fits(game, recipe, args.jobs)
    url = address(args.storage, folder / "study.db")
    where = launcher(args.cluster, folder)
    asked = plan_from(args, game, recipe, fits)
    check_memory(asked, fits, args.jobs)
    study = begin(url, name, asked)
    plan = plan_of(study)  # another machine may have begun it
    check_memory(plan, fits, args.jobs)
    say(describe(plan, name, url, args.trials))
    resources = Resources(args.cpus or max(usable_cores() // args.jobs, 1), args.gpus, args.memory)
    try:
        Search(study, url, args.trials, folder, args.device, resources).run(where, args.jobs)
        write_files(study, folder)
        if args.finalists:
            train_finalists(study, plan, folder, args, where, resources)
    except (KeyboardInterrupt, SystemExit):
        say(RESUMES)
        raise
    say(f"Study: {folder}")


def plan_from(args: argparse.Namespace, game: Game, recipe: Recipe, largest_buffer: int) -> Plan:
    """What the flags ask for.

    :raises UserError: fewer steps than evaluations, or a name that cannot be searched
    """
    if args.evaluations > recipe.n_timesteps:
        raise UserError(f"--evaluations {args.evaluations}: more than {recipe.n_timesteps} STEPS")
    plan = Plan(
        env_id=game.env_id,
        recipe=recipe.name,
        algo=recipe.algo,
        hyperparams=recipe.hyperparams.given,
        seed=args.seed or 0,
        evaluations=args.evaluations,
        episodes=args.eval_episodes,
        pruner=args.pruner,
        search=tuple(args.search.replace(",", " ").split()),
        largest_buffer=largest_buffer,
        n_envs=args.envs or 0,
    )
    _ = plan.space  # or what is wrong with it would be said by every trial
    return plan


def replay_that_fits(game: Game, recipe: Recipe, jobs: int) -> int:
    """Steps of the largest replay that fits so many times into the memory of this machine."""
    env = make_games(game, recipe.hyperparams, 1, 0)
    space = env.observation_space
    env.close()
    assert isinstance(space, spaces.Box)
    return largest_replay(space, recipe.hyperparams) // jobs


def check_memory(plan: Plan, fits: int, jobs: int) -> None:
    """Make sure that trials have the memory for their replays.

    :param fits: steps of the replay that fits `jobs` times
    :raises UserError: they have not
    """
    largest = plan.largest_replay
    if fits < 0.9 * largest:  # what is free changes from minute to minute
        raise UserError(
            f"replays of this study have up to {largest:,} steps, of which {fits:,} fit {jobs}"
            " times into the memory; give a smaller JOBS, or STEPS, or buffer_size in a copy of the"
            " recipe"
        )


def describe(plan: Plan, name: str, url: str, n_trials: int) -> str:
    """What is going to be searched, in a few lines."""
    dimensions = ", ".join(dimension.name for dimension in plan.space.dimensions)
    return (
        f"study {name} in {shown(url)}: {n_trials} trials of {plan.steps:,} steps around"
        f" {plan.recipe}; the first one is the recipe itself\n"
        f"searched: {dimensions}\n"
        f"objective: the last of {plan.evaluations} evaluations of {plan.episodes} full games each;"
        f" pruner: {plan.pruner}"
    )


def train_finalists(
    study: optuna.Study,
    plan: Plan,
    folder: Path,
    args: argparse.Namespace,
    where: Launcher,
    resources: Resources,
) -> None:
    """Train the best trials and the recipe itself on fresh seeds, and rank them."""
    chosen = finalists(study, plan, args.finalists)
    names = ", ".join(recipe.name for recipe in chosen.values())
    say(f"finalists on {args.seeds} fresh seeds each: {names}")
    matrix = matrix_of(chosen, plan, folder, args.seeds, args.device, resources)
    if failed := matrix.train(where, args.jobs):
        say(f"without a ranking: {', '.join(failed)} did not finish")
        raise SystemExit(1)
    data, ranking = rank(chosen, plan, matrix)
    study.set_user_attr(RANKING, ranking)
    write_report(data, folder / "report")
    say(f"ranking; report: {folder / 'report' / 'report.html'}")
    for place, row in enumerate(ranking, start=1):
        say(f"{place}. {row['name']}: mean {row['mean']:.1f}, {row['verdict']}")


class Search:
    """A search on this machine; other machines may work on the same study.

    :param n_trials: results of the study, from all machines together
    :param folder: of the study on this machine
    """

    def __init__(
        self,
        study: optuna.Study,
        url: str,
        n_trials: int,
        folder: Path,
        device: str,
        resources: Resources,
    ) -> None:
        self.study, self.url, self.n_trials = study, url, n_trials
        self._folder, self._resources = folder, resources
        asked = {"url": url, "study": study.study_name, "n_trials": n_trials}
        asked |= {"logs": str(folder), "device": device, "threads": resources.cpus}
        self._asked = json.dumps(asked)
        self._numbers = count(1)  # of processes
        self._crashes = 0  # in a row
        self._trials = study.get_trials(deepcopy=False)
        self._reported = {trial.number for trial in self._trials if trial.state.is_finished()}

    def run(self, launch: Launcher, jobs: int) -> None:
        """Search until there are `n_trials` results.

        :raises UserError: the storage does not answer, or the processes of trials crash
        """

        def ended(task: Task, status: int) -> None:
            self._ended(task, status)
            if self._crashes >= CRASHES * jobs:
                raise UserError(f"{self._crashes} trials in a row crashed; {RESUMES}")

        run_all(launch, jobs, self._next, ended, self._is_over)

    def _look(self) -> None:
        """Retry what was killed, report what has ended anywhere."""
        with one_line_errors(self.url), storage_lock(self.url):
            retry_killed(self.study)
            self._trials = self.study.get_trials(deepcopy=False)
        for trial in self._trials:
            if trial.state.is_finished() and trial.number not in self._reported:
                self._reported.add(trial.number)
                say(f"trial {trial.number}: {self._outcome(trial)}")

    def _next(self) -> Task | None:
        """A process that claims a trial, unless the study is full."""
        self._look()
        if is_full(self._trials, self.n_trials):
            return None
        return Task(
            "a trial",
            "custom.tuning.trial",
            stdin=self._asked,  # it may hold a password
            log=self._folder / "logs" / f"{os.getpid()}-{next(self._numbers)}.log",
            resources=self._resources,
        )

    def _ended(self, task: Task, status: int) -> None:
        self._crashes = self._crashes + 1 if status else 0
        if status < 0:
            signal = f"the process of a trial was killed (signal {-status})"
            say(f"{signal}; the trial will be retried {GRACE} seconds after its last heartbeat")
        elif status:
            say(f"the process of a trial ended with status {status}: {last_line(task.log)}")

    def _is_over(self) -> bool:
        self._look()
        return len(results(self._trials)) >= self.n_trials

    def _outcome(self, trial: FrozenTrial) -> str:
        if trial.state is TrialState.FAIL and REASON not in trial.user_attrs:
            return "stopped or killed; it does not count"
        reason = trial.user_attrs.get(REASON)
        end = f"failed: {reason}" if reason else f"{trial.state.name.lower()}, {trial.value:.1f}"
        best = ", ".join(f"best: {each.value:.1f}" for each in best_first(self._trials)[:1])
        return f"{end}; {len(results(self._trials))} of {self.n_trials} done; {best}"


def last_line(log: Path | None) -> str:
    """What a task printed last."""
    lines = log.read_text(errors="replace").splitlines() if log and log.is_file() else []
    return f"{lines[-1] if lines else 'it printed nothing'} ({log})"
