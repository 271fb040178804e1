"""`make tune` on a real PostgreSQL. Needs Debian's package; .ci/run installs it and runs this."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from custom.runs.folder import open_run
from custom.tuning.storage import address
from custom.tuning.study import load, results
from tests.conftest import SMALL, run, start
from tests.servers.postgresql import postgresql
from tests.test_tuning import share, silence

history_of = RetryHeartbeatStaleTrialCallback.retry_history
NAME = "small-BreakoutNoFrameskip-v4"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


def test_three_processes_begin_a_study_on_an_empty_database_together(server: str) -> None:
    share(address(server, Path()), 3)


def test_a_search_survives_a_killed_trial_and_the_best_trains(tmp_path: Path, server: str) -> None:
    (tmp_path / "small.yml").write_text(yaml.safe_dump({"atari": SMALL}))
    shared = ["--game", "Breakout", "--recipe", tmp_path / "small.yml", "--logs", tmp_path / "logs"]
    shared += ["--storage", server]
    few = ["--evaluations", 2, "--eval-episodes", 1, "--seeds", 1]
    size = ["--trials", 5, "--steps", 200, "--finalists", 1]
    size += ["--search", "learning_rate,gamma"]  # what does not make it slower
    process = start("scripts.tune", *shared, *few, *size)
    url = address(server, Path())
    victim = _a_running_trial(url)
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    silence(url, str(victim.number))
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "the process of a trial ended with status -9" in output
    output = run("scripts.tune", *shared, *few, *size)  # nothing is left to do
    trials = load(url, NAME).trials
    states = [trial.state for trial in trials]
    assert len(results(trials)) == 5
    assert sum(state in (TrialState.COMPLETE, TrialState.PRUNED) for state in states) == 5
    assert states.count(TrialState.RUNNING) == 0
    [again] = [each for each in trials if victim.number in history_of(each)]
    assert (again.state, again.params) == (TrialState.COMPLETE, victim.params)
    assert again.user_attrs["seed"] == victim.user_attrs["seed"]
    runs = [open_run(Path(each.user_attrs["run"])) for each in (victim, again)]
    assert runs[0].path != runs[1].path
    assert [run.facts["seed"] for run in runs] == [again.user_attrs["seed"]] * 2
    assert (runs[1].facts["state"], runs[1].facts["steps"]) == ("finished", 200)
    done = [trial for trial in trials if trial.state is not TrialState.FAIL]
    assert len({str(trial.params) for trial in done}) == 5
    best = tmp_path / "best.yml"
    assert f"RECIPE={best}" in run("scripts.tune_best", *shared, "--out", best)
    train = ["--game", "Breakout", "--recipe", best, "--logs", tmp_path / "logs", "--steps", 60]
    run("scripts.train", *train, "--eval-freq", 10**9, "--no-report")


def _a_running_trial(url: str) -> FrozenTrial:
    end = time.monotonic() + 600
    while time.monotonic() < end:
        try:
            trials = load(url, NAME).get_trials(states=(TrialState.RUNNING,))
        except Exception:  # not begun yet
            trials = []
        for trial in trials:
            if "run" in trial.user_attrs:
                return trial
        time.sleep(0.2)
    raise TimeoutError("no trial runs")
