"""What `make runs` says of runs that are over, under way, or were killed."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from custom.overview import all_runs, format_runs, line_of, state_of
from custom.recipe.games import find_game
from custom.runs import Run, open_run
from tests.conftest import start
from tests.test_runs import a_run

PONG = find_game("Pong")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(a_run(tmp_path / "dqn" / "dqn" / f"{PONG.env_id}_1"))


def test_the_best_and_the_last_evaluation_are_told(run: Run) -> None:
    run.update(state="finished", steps=300, n_timesteps=300)
    results = np.array([[1.0, 2.0], [7.0, 9.0], [4.0, 6.0]])
    np.savez(run.path / "evaluations.npz", timesteps=[100, 200, 300], results=results)
    line = line_of(run)
    assert line.best == (8.0, 200)
    assert line.last == (5.0, 1.0)
    cells = format_runs([line], run.path.parents[2]).splitlines()[1].split("  ")
    assert [cell.strip() for cell in cells if cell.strip()] == [
        str(run.path),
        PONG.env_id,
        "dqn",
        "0",
        "300 of 300",
        "5.0 ± 1.0",
        "8.0 at 200",
        "finished",
    ]


def test_a_run_under_way_tells_its_steps_by_its_last_game(run: Run) -> None:
    run.update(state="running", steps=0)
    games = "steps,frames,score,game_frames\n820,3280,-21.0,3280\n1640,6560,-20.0,3280\n"
    (run.path / "training_games.csv").write_text(games)
    assert line_of(run).steps == 1640


def test_a_lock_tells_a_running_run_from_one_that_was_killed(run: Run) -> None:
    run.update(state="running")
    held = run.lock()
    assert state_of(run) == "running"
    held.close()
    assert state_of(run) == "failed"


def test_a_training_that_was_killed_is_failed(tmp_path: Path, small_recipe: Path) -> None:
    flags = ("--game", "Pong", "--recipe", small_recipe, "--steps", 10**6, "--logs", tmp_path)
    process = start("scripts.train", *flags)
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("training;"))
    [line], _ = all_runs(tmp_path)
    assert line.state == "running"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [line], _ = all_runs(tmp_path)
    assert line.state == "failed"
    assert "its process has gone" in format_runs([line], tmp_path)


def test_runs_can_be_chosen_and_damaged_ones_are_named(run: Run, tmp_path: Path) -> None:
    a_run(tmp_path / "dqn" / "dqn" / "broken_1").joinpath("run.json").write_text("{")
    assert [line.run.path for line in all_runs(tmp_path)[0]] == [run.path]
    assert all_runs(tmp_path, game="BreakoutNoFrameskip-v4")[0] == []
    assert all_runs(tmp_path, recipe="rainbow")[0] == []
    [problem] = all_runs(tmp_path, PONG.env_id, "dqn")[1]
    assert "broken_1: is not a run folder" in problem
