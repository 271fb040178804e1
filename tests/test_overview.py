"""What `make runs` says of runs that are over, under way, or were killed."""

from pathlib import Path

import numpy as np
import pytest

from custom.recipe.games import find_game
from custom.runs.folder import Run, open_run
from custom.runs.listing import HEAD, row_of, state_of, table
from custom.system import console
from tests.conftest import Patch, Printed
from tests.test_runs import a_run

PONG = find_game("Pong")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(a_run(tmp_path / "dqn" / "dqn" / f"{PONG.env_id}_1"))


def test_evaluations_are_told_and_of_a_run_under_way_its_steps(run: Run, tmp_path: Path) -> None:
    run.update(state="finished", steps=300_000, n_timesteps=1_250_000)
    results = np.array([[1.0, 2.0], [7.0, 9.0], [4.0, 6.0]])
    np.savez(run.path / "evaluations.npz", timesteps=[100, 200, 300], results=results)
    expected = (str(run.path), "0", "300k of 1.25M", "5.0 ± 1.0", "8.0", "finished")
    assert row_of(run, tmp_path) == expected
    run.update(state="running", steps=0)
    games = "steps,frames,score,game_frames\n820,3280,-21.0,3280\n164000,656000,-20.0,3280\n"
    (run.path / "training_games.csv").write_text(games)
    assert row_of(run, tmp_path)[2] == "164k"


def test_a_lock_tells_a_running_run_from_one_that_was_killed(run: Run, tmp_path: Path) -> None:
    run.update(state="running")
    with run.lock():
        assert state_of(run) == "running"
    [row], problems = table(tmp_path)
    assert row[-1] == "failed"
    assert problems == [f"{run.path}: its process ended unexpectedly"]


def test_runs_can_be_chosen_and_damaged_ones_are_named(run: Run, tmp_path: Path) -> None:
    a_run(tmp_path / "dqn" / "dqn" / "broken_1").joinpath("run.json").write_text("{")
    assert [row[0] for row in table(tmp_path)[0]] == [str(run.path)]
    assert table(tmp_path, game="BreakoutNoFrameskip-v4")[0] == []
    assert table(tmp_path, recipe="rainbow")[0] == []
    (run.path / "evaluations.npz").write_bytes(b"PK")
    rows, [broken, evaluations] = table(tmp_path, PONG.env_id, "dqn")
    assert rows == []
    assert "broken_1: is not a run folder" in broken
    assert "evaluations.npz: cannot be read" in evaluations


def test_the_list_has_100_columns(
    run: Run, tmp_path: Path, monkeypatch: Patch, capsys: Printed
) -> None:
    path = tmp_path / "logs" / "dqn" / "dqn" / "SpaceInvadersNoFrameskip-v4_1"
    run = open_run(a_run(path))
    run.update(state="failed", error="a long story " * 10, steps=12_500_000, n_timesteps=12_500_000)
    np.savez(path / "evaluations.npz", timesteps=[100], results=[[1234.5, 1734.5]])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "PIPE_WIDTH", 100)
    console.print_table("", HEAD, [row_of(run, Path("logs"))], only_first_wraps=True)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "logs/dqn/dqn/SpaceInvadersNoFrameskip-v4_1 " in printed
    assert "1484.5 ± 250.0" in printed
