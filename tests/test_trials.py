"""A real trial: what is trained is what the study asked for, also after it was killed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from custom.jobs.task import Process, Task
from custom.recipe.games import find_game
from custom.runs.folder import open_run
from custom.tuning.plan import Plan
from custom.tuning.storage import address
from custom.tuning.study import begin, load, results
from tests.conftest import SMALL
from tests.test_tuning import silence

BREAKOUT = find_game("Breakout")
STEPS = 600
PLAN = Plan(
    env_id=BREAKOUT.env_id,
    recipe="small",
    algo="dqn",
    hyperparams={**SMALL, "n_timesteps": STEPS, "learning_rate": 1e-4},
    search=("learning_rate",),
    evaluations=2,
    episodes=1,
)


def process_of(folder: Path, url: str) -> Process:
    asked = {"url": url, "study": "s", "n_trials": 1, "logs": str(folder)}
    stdin = json.dumps({**asked, "device": "cpu", "threads": 1})
    return Process(Task("a trial", "custom.tuning.trial", stdin=stdin, log=folder / "log"))


@pytest.mark.long
def test_a_killed_trial_is_trained_anew(tmp_path: Path) -> None:
    url = address("", tmp_path / "study.db")
    study = begin(url, "s", PLAN)
    process = process_of(tmp_path, url)
    while not study.trials[0].intermediate_values:  # until its first evaluation
        assert process.status() is None, (tmp_path / "log").read_text()
        time.sleep(0.02)
    os.kill(process._process.pid, signal.SIGKILL)
    process.end(60)
    silence(url)
    process = process_of(tmp_path, url)
    process.end(300)
    assert process.status() == 0, (tmp_path / "log").read_text()
    killed, trial = load(url, "s").trials
    assert [killed.state, trial.state] == [TrialState.FAIL, TrialState.COMPLETE]
    assert results([killed, trial]) == [trial]
    assert trial.params == killed.params == {"learning_rate": 1e-4}
    assert sorted(trial.intermediate_values) == [1, 2]
    runs = [open_run(Path(each.user_attrs["run"])) for each in (killed, trial)]
    assert runs[0].path != runs[1].path
    assert [run.facts["seed"] for run in runs] == [PLAN.seed_of(0)] * 2
    assert runs[1].facts["state"] == "finished"
    assert runs[1].facts["steps"] == STEPS
