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
from custom.errors import UserError
from custom.fanout.task import Task, ThisMachine
from custom.games import find_game
from custom.matrix import ATTEMPTS, Cell, Matrix, Queue
from custom.overview import all_runs
from custom.recipes import load_recipe
from custom.runs import try_lock
from tests.conftest import SMALL

PONG = find_game("Pong")
STEPS = 600


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    """Three runs, with an evaluation in the middle and one at the end."""
    file = tmp_path / "small.yml"
    file.write_text(yaml.safe_dump({"atari": SMALL}))
    recipe = load_recipe(str(file), PONG).with_budget(STEPS)
    cells = tuple(Cell(PONG, recipe, seed) for seed in (1, 2, 3))
    return Matrix(cells, tmp_path / "logs", 2, 1, Engine(env="native"), "cpu")


def only(matrix: Matrix, number: int) -> Matrix:
    return Matrix(matrix.cells[:number], matrix.logs, 2, 1, Engine(env="native"), "cpu")


def test_a_run_that_was_killed_goes_on_and_a_finished_one_is_left_alone(
    matrix: Matrix, capfd: pytest.CaptureFixture[str]
) -> None:
    one = only(matrix, 1)
    handle = ThisMachine().start(one.task(one.cells[0]))
    while not list(one.logs.glob("small/dqn/*/state")):
        assert handle.status() is None
        time.sleep(0.02)
    os.kill(handle._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    handle.end(60)
    assert one.train(ThisMachine(), 1) == []
    [line], _ = all_runs(one.logs)
    assert line.state == "finished"
    assert [entry["steps"] for entry in line.run.facts["resumed"]] == [STEPS // 2]
    assert one.train(ThisMachine(), 1) == []
    assert len(all_runs(one.logs)[0]) == 1
    assert "1 runs, 1 of them finished before" in capfd.readouterr().out


def test_what_another_process_is_at_is_left_to_it(matrix: Matrix) -> None:
    queue = _queue(matrix)
    with matrix.log(matrix.cells[1]).with_suffix(".lock").open("w") as other:
        assert try_lock(other)
        assert [task.name[-1] for task in _all(queue)] == ["1", "3"]
        assert len(queue.waiting) == 1
    assert [task.name[-1] for task in _all(queue)] == ["2"]
    assert not queue.waiting
    assert not list(_all(_queue(matrix)))  # the first queue holds all of them


@pytest.mark.parametrize(("status", "tried"), [(-9, ATTEMPTS), (1, ATTEMPTS), (2, 1)])
def test_what_failed_is_tried_again_unless_it_was_refused(
    matrix: Matrix, status: int, tried: int
) -> None:
    queue, count = _queue(only(matrix, 1)), 0
    while (task := queue.next_task()) is not None:
        count += 1
        queue.ended(task, status)
    assert count == tried


def test_a_run_that_cannot_go_on_begins_anew(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        path = Path("broken")

    monkeypatch.setattr(Matrix, "broken_off", lambda self, cell: Broken)
    queue = _queue(only(matrix, 1))
    first = queue.next_task()
    assert first is not None
    assert (first.module, first.arguments[0]) == ("scripts.resume", "--run=broken")
    queue.ended(first, UserError.exit_status)
    second = queue.next_task()
    assert second is not None
    assert second.module == "scripts.train"
    assert "--save-state" in second.arguments


def _queue(matrix: Matrix) -> Queue:
    (matrix.logs / "matrix").mkdir(parents=True, exist_ok=True)
    return Queue(matrix)


def _all(queue: Queue) -> Iterator[Task]:
    while (task := queue.next_task()) is not None:
        yield task
