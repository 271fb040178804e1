"""A real trial: what is trained is what the study asked for, also where it was killed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from custom.engine import Engine
from custom.fanout.task import Process, Task, ThisMachine
from custom.games import find_game
from custom.runs import open_run
from custom.tuning.ledger import folders_of, results
from custom.tuning.plan import Plan
from custom.tuning.storage import address
from custom.tuning.study import begin, load
from tests.conftest import SMALL

BREAKOUT = find_game("Breakout")
STEPS = 600


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """With one trial that was killed between its evaluations, in the middle and at the end."""
    values = {**SMALL, "n_timesteps": STEPS, "learning_rate": 1e-4}
    engine = Engine(env="native")
    of = {"recipe": "small", "algo": "dqn", "hyperparams": values, "engine": engine}
    more = {"search": ("learning_rate",), "evaluations": 2, "episodes": 1}
    plan = Plan(env_id=BREAKOUT.env_id, **of, **more)  # type: ignore[arg-type]
    begin(_url(tmp_path), "s", plan)
    process = _process(tmp_path)
    while not (states := list(tmp_path.glob("trials/dqn/*/state"))):
        assert process.status() is None, (tmp_path / "log").read_text()
        time.sleep(0.02)
    os.kill(process._process.pid, signal.SIGKILL)
    process.end(60)
    assert len(states) == 1
    return load(_url(tmp_path), "s")


def _url(folder: Path) -> str:
    return address("", folder / "study.db")


def _process(folder: Path) -> Process:
    asked = {"url": _url(folder), "study": "s", "n_trials": 1, "logs": str(folder)}
    asked |= {"device": "cpu", "threads": 1, "save_state": True}
    task = Task("a trial", "custom.tuning.trial", stdin=json.dumps(asked), log=folder / "log")
    made = ThisMachine().start(task)
    assert isinstance(made, Process)
    return made


def _trained(study: optuna.Study, folder: Path) -> Path:
    """Train what is left; the run folder of the only result."""
    process = _process(folder)
    process.end(300)
    assert process.status() == 0, (folder / "log").read_text()
    [trial] = results(study.trials)
    assert trial.state is TrialState.COMPLETE
    assert sorted(trial.intermediate_values) == [1, 2]
    return folders_of(trial.number, study.trials)[0]


def test_a_killed_trial_goes_on(study: optuna.Study, tmp_path: Path) -> None:
    run = open_run(_trained(study, tmp_path))
    assert [entry["steps"] for entry in run.facts["resumed"]] == [STEPS // 2]
    assert len(list(tmp_path.glob("trials/dqn/*"))) == 1


def test_a_trial_goes_on_with_no_other_run_at_its_place(
    study: optuna.Study, tmp_path: Path
) -> None:
    [folder] = tmp_path.glob("trials/dqn/*")
    other = open_run(folder)
    other.update(seed=other.facts["seed"] + 1)
    run = open_run(_trained(study, tmp_path))
    assert run.path != other.path
    assert run.facts["seed"] == study.trials[-1].user_attrs["seed"]
    assert "resumed" not in run.facts
    assert "resumed" not in open_run(folder).facts
