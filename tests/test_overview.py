"""What `make runs` says of runs that are over, under way, or were killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from custom.recipe.games import find_game
from custom.runs.folder import Run, open_run
from custom.runs.listing import HEAD, all_runs, line_of, short, state_of
from custom.system import console
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
    cells = line.cells(run.path.parents[2])
    assert cells == (str(run.path), "0", "300/300", "5.0 ± 1.0", "8.0", "finished")


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
    line = line_of(run)
    assert (line.state, line.cells(run.path.parents[2])[-1]) == ("failed", "failed")
    assert line.problem == f"{run.path}: its process ended unexpectedly"


def test_runs_can_be_chosen_and_damaged_ones_are_named(run: Run, tmp_path: Path) -> None:
    a_run(tmp_path / "dqn" / "dqn" / "broken_1").joinpath("run.json").write_text("{")
    assert [line.run.path for line in all_runs(tmp_path)[0]] == [run.path]
    assert all_runs(tmp_path, game="BreakoutNoFrameskip-v4")[0] == []
    assert all_runs(tmp_path, recipe="rainbow")[0] == []
    [problem] = all_runs(tmp_path, PONG.env_id, "dqn")[1]
    assert "broken_1: is not a run folder" in problem


@pytest.mark.parametrize("facts", [{"steps": "many"}, {"steps": None}])
def test_steps_that_are_no_number_leave_only_their_run_out(
    run: Run, tmp_path: Path, facts: dict[str, Any]
) -> None:
    open_run(a_run(tmp_path / "dqn" / "dqn" / f"{PONG.env_id}_2")).update(**facts)
    lines, [problem] = all_runs(tmp_path)
    assert [line.run.path for line in lines] == [run.path]
    assert f"{PONG.env_id}_2: its steps are damaged" in problem


def test_steps_are_short() -> None:
    shown = [short(steps) for steps in (0, 950, 20_000, 1_250_000, 12_500_000)]
    assert shown == ["0", "950", "20k", "1.25M", "12.5M"]


def test_the_list_fits_into_100_columns(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "logs" / "dqn" / "dqn" / "SpaceInvadersNoFrameskip-v4_1"
    run = open_run(a_run(path))
    run.update(state="failed", error="a long story " * 10, steps=12_500_000, n_timesteps=12_500_000)
    np.savez(path / "evaluations.npz", timesteps=[100], results=[[1234.5, 1734.5]])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "PIPE_WIDTH", 100)
    console.print_table("", HEAD, [line_of(run).cells(Path("logs"))], only_first_wraps=True)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "logs/dqn/dqn/SpaceInvadersNoFrameskip-v4_1 " in printed
    assert "1484.5 ± 250.0" in printed
