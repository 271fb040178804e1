"""`make benchmark` on a Ray of this machine, and tasks by submitit. .ci/run installs both."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from custom.jobs.cluster import launcher, on_slurm
from custom.jobs.task import Resources, Task
from custom.runs.folder import open_runs
from custom.runs.listing import state_of
from custom.system.errors import UserError
from tests.conftest import SMALL, Patch, run, start

GAMES, SEEDS = ("Asterix", "Breakout"), 1


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: Patch) -> list[object]:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or a busy machine would starve them
    for name, rate in (("one", 1e-4), ("two", 1e-3)):
        values = {**SMALL, "learning_rate": rate}
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump({"atari": values}))
    recipes = f"{tmp_path / 'one.yml'} {tmp_path / 'two.yml'}"
    return [
        *("--games", " ".join(GAMES), "--recipes", recipes, "--seeds", SEEDS, "--steps", 300),
        *("--evaluations", 2, "--eval-episodes", 1, "--jobs", 2),
        *("--cpus", 1, "--logs", tmp_path / "logs", "--out", tmp_path / "report"),
    ]


def test_all_runs_finish_though_a_worker_is_killed(flags: list[object], tmp_path: Path) -> None:
    process = start("scripts.benchmark", *flags, "--cluster", "ray")
    os.kill(_a_busy_worker(tmp_path / "logs"), signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert output.count("it is tried again") == 1
    runs, _ = open_runs(tmp_path / "logs")
    finished = [run for run in runs if run.facts["state"] == "finished"]
    of = {(run.game.name, run.facts["recipe"], run.facts["seed"]) for run in finished}
    assert len(runs) == len(finished) == len(of) == 4
    assert [run for run in runs if "resumed" in run.facts]  # it went on where it was
    data = json.loads((tmp_path / "report" / "compare.json").read_text())
    assert [column["label"] for column in data["over_games"]["columns"]] == ["one", "two"]
    output = run("scripts.benchmark", *flags, "--cluster", "ray")
    assert "4 runs, 4 of them finished before" in output


def test_a_task_that_this_machine_cannot_run_is_refused(tmp_path: Path) -> None:
    start_task = launcher("ray", tmp_path)
    with pytest.raises(UserError, match=r"one: this machine does not have Resources\(cpus=1000, "):
        start_task(Task("one", "this", resources=Resources(1000)))


def test_sigterm_ends_a_benchmark_on_ray_in_one_line(flags: list[object], tmp_path: Path) -> None:
    one = ("--games", "Breakout", "--seeds", 1, "--steps", 3000)
    process = start("scripts.benchmark", *flags, *one, "--cluster", "ray")
    while process.poll() is None and not list(tmp_path.glob("logs/*/dqn/*/training_games.csv")):
        time.sleep(0.1)
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert "SIGTERM" not in output
    runs, _ = open_runs(tmp_path / "logs")
    assert "interrupted" in map(state_of, runs)  # it had time to save


def _a_busy_worker(logs: Path) -> int:
    """A worker of Ray whose task has saved its state."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        for state in logs.glob("*/dqn/*/state/manifest.json"):
            recipe, env = state.parts[-5], state.parts[-3].rpartition("_")[0]
            for folder in Path("/proc").glob("[0-9]*"):
                command = (folder / "cmdline").read_bytes() if folder.is_dir() else b""
                if command.startswith(f"ray::{recipe} {env} ".encode()):
                    return int(folder.name)
        time.sleep(0.1)
    raise TimeoutError("no task runs")


def test_submitit_runs_a_task_and_says_how_it_ended(tmp_path: Path) -> None:
    start_task = on_slurm(tmp_path, "local")
    handles = [
        start_task(Task(name, name, stdin="secret", log=tmp_path / name, resources=Resources()))
        for name in ("this", "nonsense")
    ]
    assert (tmp_path / "slurm").stat().st_mode & 0o777 == 0o700  # the secret is in there
    end = time.monotonic() + 120
    while any(handle.status() is None for handle in handles) and time.monotonic() < end:
        time.sleep(0.2)
    assert handles[0].status() == 0
    assert handles[1].status() not in (0, None)
    with pytest.raises(UserError, match="SLURM gives whole ones"):
        start_task(Task("this", "this", resources=Resources(gpus=0.5)))
