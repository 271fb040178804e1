"""The search: as many trials as asked for, several at once, each in a process of its own."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from custom.atomic import remove
from custom.console import say
from custom.errors import UserError
from custom.fanout.loop import run_all
from custom.fanout.task import Launcher, Resources, Task
from custom.runs import STATE
from custom.tuning.ledger import Progress, Watch, folders_of, progress, reason_of, results, settle
from custom.tuning.storage import alone, insist
from custom.tuning.trial import DONE, NOTHING_LEFT

MODULE = "custom.tuning.trial"
CRASHES = 3  # in a row that end a search: something else is wrong than a trial
LOOK_AGAIN = 2.0  # seconds


class Search:
    """A search on this machine, beside which others may be at the same study.

    :param n_trials: with a result, of all machines together
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
        save_state: bool = True,
    ) -> None:
        self.study = study
        self.url = url
        self.n_trials = n_trials
        self.folder = folder
        self.device = device
        self.resources = resources
        self.save_state = save_state
        self._crashes = 0
        self._count = 0
        self._watch = Watch()
        self._trials: list[FrozenTrial] = []
        self._look_at = 0.0
        self._look()
        self._said = {t.number for t in self._trials if t.state.is_finished()}

    def run(self, launcher: Launcher, jobs: int) -> None:
        """Search until there are so many results.

        :raises UserError: trials cannot be started
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        run_all(launcher, jobs, self._next, self._ended, self._is_over)

    def _look(self) -> Progress:
        """How far the study is; asked for every few seconds alone."""
        if time.monotonic() >= self._look_at:
            insist(self._ask)
            self._look_at = time.monotonic() + LOOK_AGAIN
        return progress(self._trials)

    def _ask(self) -> None:
        with alone(self.url):
            settle(self.study, self._watch.silent(self.study.get_trials(deepcopy=False)))
            self._trials = self.study.get_trials(deepcopy=False)

    def _next(self) -> Task | None:
        """A process for a trial that nobody has claimed, if there is one."""
        now = self._look()
        if now.done + now.running >= self.n_trials:
            return None
        asked = {
            "url": self.url,
            "study": self.study.study_name,
            "n_trials": self.n_trials,
            "logs": str(self.folder),
            "device": self.device,
            "threads": self.resources.cpus,
            "save_state": self.save_state,
        }
        self._count += 1
        log = self.folder / "logs" / f"{os.getpid()}-{self._count}.log"
        stdin = json.dumps(asked)  # which may hold a password
        return Task("a trial", MODULE, stdin=stdin, log=log, resources=self.resources)

    def _ended(self, task: Task, status: int) -> None:
        self._look_at = 0.0
        if status < 0:
            say(f"the process of a trial was killed (signal {-status}); the trial is given on")
        elif status not in (DONE, NOTHING_LEFT):
            self._crashes += 1
            say(f"the process of a trial ended with status {status}: {last_line(task.log)}")
        else:
            self._crashes = 0
        self._look()
        self._tell()
        if self._crashes >= CRASHES:
            raise UserError(f"{CRASHES} trials in a row crashed; the same command goes on")

    def _tell(self) -> None:
        """A line for each trial that came to its end, here or elsewhere."""
        for trial in self._trials:
            if trial.state.is_finished() and trial.number not in self._said:
                self._said.add(trial.number)
                self._tidy(trial)
                say(f"trial {trial.number}: {self._outcome(trial)}")

    def _tidy(self, trial: FrozenTrial) -> None:
        """Remove the saved state of a trial that is not done again."""
        if self._counts(trial):
            for folder in folders_of(trial.number, self._trials):
                remove(folder / STATE)

    def _counts(self, trial: FrozenTrial) -> bool:
        return trial.number in {result.number for result in results(self._trials)}

    def _outcome(self, trial: FrozenTrial) -> str:
        if trial.state is TrialState.FAIL:
            again = "" if self._counts(trial) else "; it is done again"
            return f"failed: {reason_of(trial)}{again}"
        if trial.state is TrialState.PRUNED:
            at = max(trial.intermediate_values, default=0)
            return f"pruned after evaluation {at}, at {trial.intermediate_values.get(at, 0):.1f}"
        found = f"{trial.value:.1f}"
        best = max(
            (t for t in self._trials if t.state is TrialState.COMPLETE),
            key=lambda t: (t.value or 0.0, -t.number),
        )
        where = "the best so far" if best.number == trial.number else f"best: {best.value:.1f}"
        return f"{found} ({where}); {progress(self._trials).done} of {self.n_trials} done"

    def _is_over(self) -> bool:
        now = self._look()
        self._tell()
        return now.done >= self.n_trials


def last_line(log: Path | None) -> str:
    """What a task said last."""
    lines = log.read_text(errors="replace").splitlines() if log and log.is_file() else []
    return f"{lines[-1] if lines else 'it said nothing'} ({log})"
