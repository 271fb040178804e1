"""A real trial: what is trained is what the study asked for, also where it was killed."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from custom.fanout.task import Process, Task, ThisMachine
from custom.recipe.games import find_game
from custom.runs import open_run
from custom.training.resume import is_of
from custom.tuning.ledger import folders_of, results
from custom.tuning.plan import Plan
from custom.tuning.storage import address
from custom.tuning.study import begin, load
from custom.tuning.trial import _gone_on_with, settings_of
from tests.conftest import SMALL

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a study of one trial, killed between its evaluations in the middle and at the end."""
    made = tmp_path_factory.mktemp("study")
    begin(_url(made), "s", PLAN)
    process = _process(made)
    while not (states := list(made.glob("trials/dqn/*/state"))):
        assert process.status() is None, (made / "log").read_text()
        time.sleep(0.02)
    os.kill(process._process.pid, signal.SIGKILL)
    process.end(60)
    assert len(states) == 1
    return made


def _url(folder: Path) -> str:
    return address("", folder / "study.db")


def _asked(folder: Path) -> dict[str, Any]:
    asked = {"url": _url(folder), "study": "s", "n_trials": 1, "logs": str(folder)}
    return asked | {"device": "cpu", "threads": 1, "save_state": True}


def _process(folder: Path) -> Process:
    stdin = json.dumps(_asked(folder))
    task = Task("a trial", "custom.tuning.trial", stdin=stdin, log=folder / "log")
    made = ThisMachine().start(task)
    assert isinstance(made, Process)
    return made


@pytest.mark.parametrize("changed", [{"seed": 1}, {"eval_episodes": 2}, {"eval_freq": 7}])
def test_a_trial_goes_on_with_no_other_run_at_its_place(
    folder: Path, changed: dict[str, int]
) -> None:
    [path] = folder.glob("trials/dqn/*")
    settings = settings_of(PLAN, _asked(folder), 0)
    recipe = PLAN.recipe_of("trials", {"learning_rate": 1e-4})
    assert is_of(open_run(path), settings.engine.resolve(recipe), settings)
    assert _gone_on_with(path, recipe, replace(settings, **changed)) is None
    other = PLAN.recipe_of("trials", {"learning_rate": 2e-4})
    assert _gone_on_with(path, other, settings) is None
    assert _gone_on_with(path.with_name("none"), recipe, settings) is None


def test_a_killed_trial_goes_on(folder: Path) -> None:
    process = _process(folder)
    process.end(300)
    assert process.status() == 0, (folder / "log").read_text()
    study = load(_url(folder), "s")
    [trial] = results(study.trials)
    assert trial.state is TrialState.COMPLETE
    assert sorted(trial.intermediate_values) == [1, 2]
    [path] = set(folders_of(trial.number, study.trials))
    run = open_run(path)
    assert [entry["steps"] for entry in run.facts["resumed"]] == [STEPS // 2]
    assert len(list(folder.glob("trials/dqn/*"))) == 1
