"""The search: as many trials as asked for, several at once, each in its own process."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from custom.jobs.loop import run_all
from custom.jobs.task import Launcher, Resources, Task
from custom.system.console import say
from custom.system.errors import UserError
from custom.tuning.storage import GRACE, one_line_errors, storage_lock
from custom.tuning.study import REASON, best_first, is_full, results, retry_killed

MODULE = "custom.tuning.trial"
CRASHES = 3  # of each job, in a row, end a search: something other than a trial is wrong
RESUMES = "the same command resumes the search"
LOOK_AGAIN = 2.0  # seconds between two looks into the storage


@dataclass
class Search:
    """A search on this machine; other machines may work on the same study.

    :param n_trials: results of the study, from all machines together
    :param folder: of the study on this machine
    """

    study: optuna.Study
    url: str
    n_trials: int
    folder: Path
    device: str
    resources: Resources
    _started: int = field(default=0, init=False)
    _crashes: int = field(default=0, init=False)  # in a row
    _look_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._trials = self.study.get_trials(deepcopy=False)
        self._reported = {trial.number for trial in self._trials if trial.state.is_finished()}

    def run(self, launcher: Launcher, jobs: int) -> None:
        """Search until there are `n_trials` results.

        :raises UserError: the storage does not answer, or the processes of trials crash
        """

        def ended(task: Task, status: int) -> None:
            self._ended(task, status)
            if self._crashes >= CRASHES * jobs:
                raise UserError(f"{self._crashes} trials in a row crashed; {RESUMES}")

        run_all(launcher, jobs, self._next, ended, self._is_over)

    def _look(self) -> None:
        """Every few seconds: retry what was killed, report what has ended anywhere."""
        if time.monotonic() < self._look_at:
            return
        with one_line_errors(self.url), storage_lock(self.url):
            retry_killed(self.study)
            self._trials = self.study.get_trials(deepcopy=False)
        self._look_at = time.monotonic() + LOOK_AGAIN
        for trial in self._trials:
            if trial.state.is_finished() and trial.number not in self._reported:
                self._reported.add(trial.number)
                say(f"trial {trial.number}: {self._outcome(trial)}")

    def _next(self) -> Task | None:
        """A process that claims a trial, unless the study is full."""
        self._look()
        if is_full(self._trials, self.n_trials):
            return None
        asked = {
            "url": self.url,
            "study": self.study.study_name,
            "n_trials": self.n_trials,
            "logs": str(self.folder),
            "device": self.device,
            "threads": self.resources.cpus,
        }
        self._started += 1
        log = self.folder / "logs" / f"{os.getpid()}-{self._started}.log"
        stdin = json.dumps(asked)  # which may hold a password
        return Task("a trial", MODULE, stdin=stdin, log=log, resources=self.resources)

    def _ended(self, task: Task, status: int) -> None:
        self._look_at = 0.0
        self._crashes = self._crashes + 1 if status else 0
        if status < 0:
            signal = f"the process of a trial was killed (signal {-status})"
            say(f"{signal}; the trial will be retried {GRACE} seconds after its last heartbeat")
        elif status:
            say(f"the process of a trial ended with status {status}: {last_line(task.log)}")
        self._look()

    def _is_over(self) -> bool:
        self._look()
        return len(results(self._trials)) >= self.n_trials

    def _outcome(self, trial: FrozenTrial) -> str:
        if trial.state is TrialState.FAIL:
            reason = trial.user_attrs.get(REASON)
            return f"failed: {reason}" if reason else "stopped or killed; it does not count"
        if trial.state is TrialState.PRUNED:
            return f"pruned after evaluation {trial.last_step}, at {trial.value:.1f}"
        done = f"{len(results(self._trials))} of {self.n_trials} done"
        best = best_first(self._trials)[0]
        where = "the best so far" if best.number == trial.number else f"best: {best.value:.1f}"
        return f"{trial.value:.1f} ({where}); {done}"


def last_line(log: Path | None) -> str:
    """What a task printed last."""
    lines = log.read_text(errors="replace").splitlines() if log and log.is_file() else []
    return f"{lines[-1] if lines else 'it printed nothing'} ({log})"
