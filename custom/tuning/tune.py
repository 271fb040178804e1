"""A whole search: begin or resume the study, run trials in processes, rank the finalists."""

import argparse
import json
import os
from dataclasses import replace
from itertools import count
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from custom.compare.report import write_report
from custom.env.workers import usable_cores
from custom.jobs.cluster import launcher
from custom.jobs.task import Launcher, Resources, Task, run_all
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.system.console import say
from custom.system.errors import UserError
from custom.system.files import atomic_file
from custom.tuning.finalists import finalists, matrix_of, rank
from custom.tuning.storage import address, one_line_errors, shown
from custom.tuning.study import RANKING, REASON, Plan, begin, best_first, results

CRASHES = 3  # of each job, in a row, end a search: something other than a trial is wrong


def tune(args: argparse.Namespace, game: Game, recipe: Recipe, name: str, folder: Path) -> None:
    """Begin or resume a study, search, rank the finalists.

    :param args: the flags of `make tune`
    :param name: of the study
    :param folder: of the study on this machine
    """
    url, plan = address(args.storage, folder / "study.db"), plan_from(args, game, recipe)
    where = launcher(args.cluster, folder)
    study = begin(url, name, plan)
    say(
        f"study {name} in {shown(url)}: {args.trials} trials of {plan.steps:,} steps around"
        f" {plan.recipe}; the first one is the recipe itself\n"
        f"searched: {', '.join(dimension.name for dimension in plan.space.dimensions)}\n"
        f"objective: the last of {plan.evaluations} evaluations of {plan.episodes} full games each"
    )
    resources = Resources(args.cpus or max(usable_cores() // args.jobs, 1), args.gpus, args.memory)
    logs = folder.absolute()
    asked = {"url": url, "study": name, "logs": str(logs), "device": args.device}
    task = Task(
        "a trial",
        "custom.tuning.trial",
        stdin=json.dumps({**asked, "threads": resources.cpus}),  # it may hold a password
        log=logs / "logs",
        resources=resources,
    )
    Search(study, url, args.trials, args.jobs, task).run(where)
    with atomic_file(folder / "trials.csv", "w") as file:
        columns = ("number", "state", "value", "duration", "user_attrs", "params")
        study.trials_dataframe(columns).to_csv(file, index=False)
    if args.finalists:
        train_finalists(study, plan, folder, args, where, resources)
    say(f"Study: {folder}")


def plan_from(args: argparse.Namespace, game: Game, recipe: Recipe) -> Plan:
    """What the flags ask for.

    :raises UserError: no step of all games lies between two evaluations, or a name that cannot be
        searched
    """
    n_envs = args.envs or recipe.hyperparams.n_envs
    if args.evaluations * n_envs > recipe.n_timesteps:
        evaluations = f"--evaluations {args.evaluations} with {n_envs} games at once"
        raise UserError(f"{evaluations}: needs STEPS={args.evaluations * n_envs} at least")
    return Plan(
        env_id=game.env_id,
        recipe=recipe.name,
        algo=recipe.algo,
        hyperparams=recipe.hyperparams.given,
        seed=args.seed or 0,
        evaluations=args.evaluations,
        episodes=args.eval_episodes,
        search=args.search.replace(",", " ").split(),
        n_envs=args.envs or 0,
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
    :param jobs: trials at once here
    :param task: a process that claims a trial; its `log` is a folder
    """

    def __init__(self, study: optuna.Study, url: str, n_trials: int, jobs: int, task: Task) -> None:
        self.study, self.url, self.n_trials, self.jobs, self.task = study, url, n_trials, jobs, task
        self._numbers = count(1)  # of processes
        self._running = 0
        self._crashes = 0  # in a row
        self._reported = {trial.number for trial in study.trials if trial.state.is_finished()}

    def run(self, launch: Launcher) -> None:
        """Search until there are `n_trials` results.

        :raises UserError: the storage does not answer, or the processes of trials crash
        """
        run_all(launch, self.jobs, self._next, self._ended, lambda: self._missing() <= 0)

    def _missing(self) -> int:
        """Report the trials that have ended on any machine; the number of missing results."""
        with one_line_errors(self.url):
            trials = self.study.get_trials(deepcopy=False)
        done = len(results(trials))
        best = ", ".join(f"best: {trial.value:.1f}" for trial in best_first(trials)[:1])
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._reported:
                self._reported.add(trial.number)
                counts = f"{done} of {self.n_trials} done; {best}"
                say(f"trial {trial.number}: {outcome(trial)}; {counts}")
        return self.n_trials - done

    def _next(self) -> Task | None:
        """A process that claims a trial, if those that run will not bring all results."""
        if self._missing() <= self._running:
            return None
        self._running += 1
        assert self.task.log is not None
        return replace(self.task, log=self.task.log / f"{os.getpid()}-{next(self._numbers)}.log")

    def _ended(self, task: Task, status: int) -> None:
        self._running -= 1
        self._crashes = self._crashes + 1 if status else 0
        if status:
            say(f"the process of a trial ended with status {status}; look into {task.log}")
        if self._crashes >= CRASHES * self.jobs:
            raise UserError(f"{self._crashes} trials in a row crashed; the same command resumes")


def outcome(trial: FrozenTrial) -> str:
    """How a trial ended."""
    if reason := trial.user_attrs.get(REASON):
        return f"failed: {reason}"
    if trial.value is None:
        return "stopped or killed; it does not count"
    return f"{trial.state.name.lower()}, {trial.value:.1f}"
