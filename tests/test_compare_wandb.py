"""Runs that were trained here, uploaded to a W&B of this machine, and compared from there."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom.compare.measured import Measured
from custom.compare.sources import from_wandb
from custom.recipe.games import find_game
from tests.compared import GAME
from tests.conftest import refused, run
from tests.servers.wandb_server import WandbServer, a_wandb
from tests.servers.wandb_store import RunStore

RECIPES = ["small", "small-fast"]
PROJECT = "tester/sb3-atari-dqn"
OF_THE_SOURCE = ("name", "video")  # of a run in compare.json


@pytest.fixture(scope="module")
def store(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    logs = tmp_path_factory.mktemp("synced") / "logs"
    shutil.copytree(trained, logs)
    with a_wandb(logs.parent) as server:
        run("scripts.sync", "--logs", logs)
        return server.store


@pytest.fixture
def uploaded(trained: Path, store: RunStore, server: WandbServer) -> Path:
    server.store.runs = copy.deepcopy(store.runs)
    server.store.files = store.files
    return trained


def compared(out: Path, *flags: object) -> dict[str, Any]:
    shared = ["--game", GAME, "--recipes", " ".join(RECIPES), "--out", out]
    run("scripts.compare", *shared, *flags)
    data: dict[str, Any] = json.loads((out / "compare.json").read_text())
    for column in data["games"][0]["columns"]:
        column["runs"] = [
            {key: value for key, value in run.items() if key not in OF_THE_SOURCE}
            for run in column["runs"]
        ]
    return data


def collected(tmp_path: Path) -> tuple[list[Measured], list[str]]:
    return from_wandb(PROJECT, [find_game(GAME)], RECIPES, tmp_path / "logs")


def test_a_comparison_from_wandb_is_that_from_the_logs(uploaded: Path, tmp_path: Path) -> None:
    here = compared(tmp_path / "here", "--logs", uploaded)
    there = compared(tmp_path / "there", "--source", "wandb", "--logs", tmp_path / "nowhere")
    assert there == here
    assert [column["seeds"] for column in there["games"][0]["columns"]] == [[1, 2, 3], [1, 2]]


def test_other_and_unfinished_runs_are_left_out(
    uploaded: Path, server: WandbServer, tmp_path: Path
) -> None:
    kept = server.store.runs
    first, second, _, third, last = kept.values()
    rows = last["history"]
    twice = next(row for row in rows if "eval/scores" in row) | {"eval/scores": [7.0]}
    rows.append(twice | {"_step": rows[-1]["_step"] + 1})
    for key in ("env_id", "recipe"):  # these are not asked for
        kept[key] = copy.deepcopy(last) | {"name": key}
        kept[key]["config"][key]["value"] = "other"
    first["config"].pop("hyperparams")
    del second["summary"]["state"]
    second["state"] = "crashed"
    third["config"]["seed"]["value"] = "many"
    runs, left_out = collected(tmp_path)
    assert len(runs) == 2
    assert [7.0] in [run.scores[0].tolist() for run in runs]  # of two at a step the later one
    assert [len(run.steps) for run in runs] == [2, 2]
    assert [line.partition(": ")[0] for line in left_out] == [
        f"{PROJECT}/{name['name']}" for name in (first, second, third)
    ]
    assert "was not tracked by this project" in left_out[0]
    assert left_out[1].endswith(": crashed, not finished")
    assert "is damaged" in left_out[2]


@pytest.mark.parametrize(
    "damage", [{"eval/scores": [1.0, 2.0]}, {"eval/scores": 5.0}, {"steps": "x"}]
)
def test_a_damaged_run_is_left_out(
    uploaded: Path, server: WandbServer, tmp_path: Path, damage: Any
) -> None:
    history = next(iter(server.store.runs.values()))["history"]
    next(row for row in history if "eval/scores" in row).update(damage)
    runs, [reason] = collected(tmp_path)
    assert len(runs) == 4
    assert "evaluations" in reason


WRONG: dict[str, tuple[str, Callable[[WandbServer], object]]] = {
    "does not answer": (PROJECT, lambda server: server.stop()),
    "not logged in; for the key run": (PROJECT, lambda server: setattr(server, "key", "y" * 40)),
    "no run of RoadRunnerNoFrameskip-v4 with small in tester/other on W&B": ("tester/other", id),
    "PROJECT: 'a/b/c' is not entity/name": ("a/b/c", id),
    "PROJECT tester/sb3-atari-dqn: cannot be read": (PROJECT, lambda s: s.fail("Runs", 400)),
}


@pytest.mark.parametrize("said", WRONG)
def test_a_project_that_cannot_be_read_is_told(
    server: WandbServer, tmp_path: Path, said: str
) -> None:
    project, spoil = WRONG[said]
    spoil(server)
    flags = ["--game", GAME, "--recipes", "small", "--out", tmp_path / "out"]
    assert said in refused("scripts.compare", *flags, "--source", "wandb", "--project", project)
    assert not (tmp_path / "out").exists()
