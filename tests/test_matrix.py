"""The runs of a benchmark: each is trained once, by one process, and resumes after a kill."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from custom.jobs.matrix import ATTEMPTS, Cell, Matrix, Queue
from custom.jobs.task import Process, Task
from custom.learner.engine import Engine
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.runs.folder import open_run, open_runs
from custom.system.errors import UserError
from custom.system.files import try_lock
from custom.training.resume import resume
from custom.training.saved_state import StateSaver
from tests.conftest import SMALL, Patch, Printed, ended

GAME = find_game("Breakout")  # whose games are short
STEPS = 600


def matrix_in(folder: Path) -> Matrix:
    file = folder / "small.yml"
    file.write_text(yaml.safe_dump({"atari": SMALL}))
    recipe = load_recipe(str(file), GAME).with_budget(STEPS)
    cells = tuple(Cell(GAME, recipe, seed) for seed in (1, 2, 3))
    return Matrix(cells, folder / "logs", 2, 1, Engine(), "cpu")


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    return matrix_in(tmp_path)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    one = only(matrix_in(tmp_path_factory.mktemp("killed")), 1)
    task, save = one.task(one.cells[0]), StateSaver._save

    def save_and_die(saver: StateSaver, now: int) -> None:
        save(saver, now)
        raise KilledError

    with pytest.MonkeyPatch.context() as patch, suppress(KilledError):
        patch.setattr(StateSaver, "_save", save_and_die)
        ended(task.module, *task.arguments)
    [folder] = one.logs.glob("small/dqn/*")
    open_run(folder).update(state="running", steps=0)
    return folder


class KilledError(BaseException):
    """As if the process had gone."""


def only(matrix: Matrix, number: int) -> Matrix:
    return Matrix(matrix.cells[:number], matrix.logs, 2, 1, Engine(), "cpu")


def with_copy(matrix: Matrix, killed: Path) -> tuple[Matrix, Path]:
    one = only(matrix, 1)
    folder = one.logs / killed.relative_to(killed.parents[2])
    shutil.copytree(killed, folder)
    return one, folder


def test_a_killed_run_alone_resumes(matrix: Matrix, killed: Path, capfd: Printed) -> None:
    one, folder = with_copy(matrix, killed)
    with open_run(folder).lock():  # as if it were not yet over
        assert _queue(one).next_task() is None
    assert one.train(Process, 1) == []
    [run], _ = open_runs(one.logs)
    assert run.facts["state"] == "finished"
    [entry] = run.facts["resumed"]
    assert STEPS // 2 - 4 <= entry["steps"] < STEPS // 2  # just before the evaluation
    assert one.train(Process, 1) == []
    assert len(open_runs(one.logs)[0]) == 1
    assert "1 runs, 1 of them finished before" in capfd.readouterr().out


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), MemoryError()])
def test_what_cannot_be_resumed_keeps_its_state(
    matrix: Matrix, killed: Path, monkeypatch: Patch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    one, folder = with_copy(matrix, killed)
    queue = _queue(one)
    task = queue.next_task()
    assert task is not None
    assert (task.module, task.arguments[0]) == ("scripts.resume", f"--run={folder}")
    monkeypatch.setattr("custom.training.resume.load_state", fail)
    with pytest.raises(UserError, match="cannot be resumed") as refusal:
        resume(open_run(folder), "cpu")
    queue.ended(task, refusal.value.exit_status)
    assert not list(_all(queue))
    run = one.interrupted(one.cells[0])
    assert run is not None
    assert run.path == folder  # for the next time


def test_what_another_process_is_at_is_left_to_it(matrix: Matrix) -> None:
    queue = _queue(matrix)
    with matrix.log(matrix.cells[1]).with_suffix(".lock").open("w") as other:
        assert try_lock(other)
        assert [task.name[-1] for task in _all(queue)] == ["1", "3"]
        assert len(queue.waiting) == 1
    assert [task.name[-1] for task in _all(queue)] == ["2"]
    assert not queue.waiting
    assert not list(_all(_queue(matrix)))  # the first queue has locked all of them


@pytest.mark.parametrize(("status", "tried"), [(-9, ATTEMPTS), (143, ATTEMPTS), (1, 1), (2, 1)])
def test_what_was_killed_is_tried_again(matrix: Matrix, status: int, tried: int) -> None:
    queue, count = _queue(only(matrix, 1)), 0
    while (task := queue.next_task()) is not None:
        count += 1
        assert task.module == "scripts.train"
        queue.ended(task, status)
    assert count == tried


def _queue(matrix: Matrix) -> Queue:
    (matrix.logs / "matrix").mkdir(parents=True, exist_ok=True)
    return Queue(matrix)


def _all(queue: Queue) -> Iterator[Task]:
    while (task := queue.next_task()) is not None:
        yield task
