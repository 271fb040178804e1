"""The runs of a benchmark: each is trained once, by one process, and goes on after a kill."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from custom.engine import Engine
from custom.fanout.task import Task, ThisMachine
from custom.games import find_game
from custom.matrix import ATTEMPTS, Cell, Matrix, Queue
from custom.overview import all_runs
from custom.recipes import load_recipe
from custom.runs import open_run, try_lock
from tests.conftest import SMALL

GAME = find_game("Breakout")  # whose games are short
STEPS = 600


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    """Three runs, with an evaluation in the middle and one at the end."""
    file = tmp_path / "small.yml"
    file.write_text(yaml.safe_dump({"atari": SMALL}))
    recipe = load_recipe(str(file), GAME).with_budget(STEPS)
    cells = tuple(Cell(GAME, recipe, seed) for seed in (1, 2, 3))
    return Matrix(cells, tmp_path / "logs", 2, 1, Engine(env="native"), "cpu")


def only(matrix: Matrix, number: int) -> Matrix:
    return Matrix(matrix.cells[:number], matrix.logs, 2, 1, Engine(env="native"), "cpu")


def broken_off(matrix: Matrix) -> Path:
    """Train the only run until it has saved its state, and kill it; its folder."""
    handle = ThisMachine().start(matrix.task(matrix.cells[0]))
    while not (found := list(matrix.logs.glob("small/dqn/*/state"))):
        assert handle.status() is None
        time.sleep(0.02)
    os.kill(handle._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    handle.end(60)
    return found[0].parent


def test_a_run_that_was_killed_goes_on_and_a_finished_one_is_left_alone(
    matrix: Matrix, capfd: pytest.CaptureFixture[str]
) -> None:
    one = only(matrix, 1)
    folder = broken_off(one)
    with open_run(folder).lock():  # as if it were not yet over
        assert Queue(one).next_task() is None
    assert one.train(ThisMachine(), 1) == []
    [line], _ = all_runs(one.logs)
    assert line.state == "finished"
    assert [entry["steps"] for entry in line.run.facts["resumed"]] == [STEPS // 2]
    assert one.train(ThisMachine(), 1) == []
    assert len(all_runs(one.logs)[0]) == 1
    assert "1 runs, 1 of them finished before" in capfd.readouterr().out


def test_a_run_whose_state_is_damaged_begins_anew(
    matrix: Matrix, capfd: pytest.CaptureFixture[str]
) -> None:
    one = only(matrix, 1)
    folder = broken_off(one)
    (folder / "state" / "learner.pt").write_bytes(b"damaged")
    assert one.train(ThisMachine(), 1) == []
    assert "ended with status 3; it is tried again" in capfd.readouterr().out
    lines, _ = all_runs(one.logs)
    assert sorted(line.state for line in lines) == ["failed", "finished"]
    assert not (folder / "state").exists()


def test_what_another_process_is_at_is_left_to_it(matrix: Matrix) -> None:
    queue = _queue(matrix)
    with matrix.log(matrix.cells[1]).with_suffix(".lock").open("w") as other:
        assert try_lock(other)
        assert [task.name[-1] for task in _all(queue)] == ["1", "3"]
        assert len(queue.waiting) == 1
    queue._look_at.clear()
    assert [task.name[-1] for task in _all(queue)] == ["2"]
    assert not queue.waiting
    assert not list(_all(_queue(matrix)))  # the first queue holds all of them


@pytest.mark.parametrize(("status", "tried"), [(-9, ATTEMPTS), (143, ATTEMPTS), (1, 1), (2, 1)])
def test_what_was_killed_is_tried_again(matrix: Matrix, status: int, tried: int) -> None:
    queue, count = _queue(only(matrix, 1)), 0
    while (task := queue.next_task()) is not None:
        count += 1
        queue.ended(task, status)
    assert count == tried


def _queue(matrix: Matrix) -> Queue:
    (matrix.logs / "matrix").mkdir(parents=True, exist_ok=True)
    return Queue(matrix)


def _all(queue: Queue) -> Iterator[Task]:
    while (task := queue.next_task()) is not None:
        yield task
