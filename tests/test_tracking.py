"""Trainings tracked by W&B's own client on a W&B of this machine, and read back through its API."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from custom.runs.folder import open_run
from custom.tracking.tracker import Tracker, unsent
from custom.tracking.wish import Tracking, tracking
from tests.conftest import SMALL, Patch, Printed, ended, run, run_process, start
from tests.servers.wandb_server import WandbServer
from tests.tracked import NEVER, Tensors, has_all, holds, plain, read_back, same, trained, warnings


def test_an_online_run_is_read_back_as_it_was_logged(
    server: WandbServer, tmp_path: Path, untracked: Tensors, capsys: Printed
) -> None:
    run_folder, dumps = trained(tmp_path, "online")
    found, rows = read_back(run_folder)
    assert has_all(rows, dumps)
    assert [row["steps"] for row in rows] == [30, 60, 90, 120]
    assert [row["frames"] for row in rows] == [120, 240, 360, 480]
    assert {"train/gradient_norm", "rollout/exploration_rate"} <= set(rows[-1])
    assert (found.state, found.group, found.job_type) == ("finished", "Pong/small", "train")
    assert found.tags == ["Pong", "small", "dqn"]
    assert found.config["seed"] == 0
    assert found.config["hyperparams"]["buffer_size"] == 400
    assert found.config["engine"]["update"] == "fast"
    assert found.config["git_revision"] == run_folder.facts["git_revision"]
    assert same(run_folder, untracked)
    assert unsent(run_folder) == []
    printed = capsys.readouterr()
    assert warnings(printed.out) == []
    assert printed.out.count("W&B: ") == 1
    assert "wandb" not in printed.err


def test_an_offline_run_is_uploaded_once(
    server: WandbServer, tmp_path: Path, untracked: Tensors
) -> None:
    run_folder, dumps = trained(tmp_path, "offline")
    assert server.requests == []
    assert same(run_folder, untracked)
    output = run_process("scripts.sync", "--logs", tmp_path / "logs")
    assert "Finished syncing" in output
    found, rows = read_back(run_folder)
    assert has_all(rows, dumps)
    assert (found.state, found.group) == ("finished", "Pong/small")
    assert "nothing to upload" in run("scripts.sync", "--logs", tmp_path / "logs")


def test_a_resumed_run_adds_to_its_rows(
    server: WandbServer, tmp_path: Path, capsys: Printed
) -> None:
    run_folder, _ = trained(tmp_path, "online")
    tracker = Tracker(run_folder, Tracking("online"), rows=3)
    tracker.start()
    tracker.log({"train/loss": 9.0}, 120)  # which W&B has
    tracker.log({"train/loss": 0.5}, 150)
    tracker.finish(0)
    assert len(server.store.runs) == 1
    steps = [row["steps"] for row in read_back(run_folder)[1]]
    assert steps == [30, 60, 90, 120, 150]
    assert unsent(run_folder) == []
    assert warnings(capsys.readouterr().out) == []


def test_games_and_evaluations_arrive_by_the_command(server: WandbServer, tmp_path: Path) -> None:
    file = tmp_path / "small.yml"
    file.write_text(yaml.safe_dump({"atari": {**SMALL, "learning_starts": 10**6}}))
    flags = ("--game", "RoadRunner", "--recipe", file, "--logs", tmp_path / "logs", "--steps", 500)
    more = ("--eval-freq", 400, "--eval-episodes", 2, "--episodes", 1, "--seed", 0)
    output = run("scripts.train", *flags, *more, "--track", "wandb")
    assert warnings(output) == []
    folder = Path(output.splitlines()[-1].removeprefix("Run: "))
    [found] = server.store.runs.values()
    games = [row for row in found["history"] if "training/score" in row]
    played = (folder / "training_games.csv").read_text().splitlines()[1:]
    assert [f"{r['steps']},{r['frames']}" for r in games] == [p.rsplit(",", 2)[0] for p in played]
    assert [r["training/score"] for r in games] == [float(p.split(",")[2]) for p in played]
    [row] = [row for row in found["history"] if "eval/mean_score" in row]
    assert sum(row["eval/scores"]) / 2 == row["eval/mean_score"]
    assert {"eval/std_score", "eval/median_score", "eval/mean_max_q"} <= set(row)
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert found["summary"]["final_evaluation"]["mean"] == evaluation["mean"]
    assert not holds(folder, server.key)


@pytest.mark.long
def test_a_run_killed_three_times_has_the_whole_history(
    server: WandbServer, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # of this process, which is not killed

    def rows(name: str) -> list[dict[str, Any]]:
        kept = [plain(row) for row in server.store.runs[name]["history"]]
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in kept]

    def rows_of_killed() -> list[dict[str, Any]]:
        return [row for name in runs if name != whole for row in rows(name)]

    file = tmp_path / "small.yml"
    file.write_text(yaml.safe_dump({"atari": {**SMALL, "learning_starts": 100}}))
    flags = ("--game", "RoadRunner", "--recipe", file, "--steps", 1600, "--seed", 0, "--no-report")
    more = ("--eval-freq", 500, "--eval-episodes", 1, "--save-freq", 150, "--track", "wandb")
    runs = server.store.runs
    run_process("scripts.train", *flags, *more, "--logs", tmp_path / "whole")
    [whole] = runs
    process = start("scripts.train", *flags, *more, "--logs", tmp_path / "killed")
    folder = tmp_path / "killed/small/dqn/RoadRunnerNoFrameskip-v4_1"
    for step in (300, 700, 1200):
        while not (folder / f"rl_model_{step // 150 * 150}_steps.zip").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)  # the client has the last seconds in memory
        games = (folder / "training_games.csv").read_text().split()
        while not any(games[-1].startswith(f"{row['steps']},") for row in rows_of_killed()):
            time.sleep(0.1)
        process.kill()
        process.communicate()
        process = start("scripts.resume", "--run", folder, "--no-report")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert warnings(output) == []
    assert len(json.loads((folder / "run.json").read_text())["resumed"]) == 3
    [killed] = runs.keys() - {whole}
    assert rows(killed) == rows(whole)
    assert unsent(open_run(folder)) == []
    assert len(rows(whole)) > 10


def test_no_tracking_needs_no_wandb(tmp_path: Path, small_recipe: Path, monkeypatch: Patch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # which cannot be imported then
    flags = ("--game", "Pong", "--recipe", small_recipe, "--logs", tmp_path / "logs")
    run("scripts.train", *flags, "--steps", 40, "--eval-freq", NEVER, "--no-report")


def test_a_client_that_fails_is_told(tmp_path: Path, monkeypatch: Patch, capsys: Printed) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wandb.init", full)
    run_folder, _ = trained(tmp_path, "offline")
    assert run_folder.facts["state"] == "finished"
    [line] = warnings(capsys.readouterr().out)
    assert "no longer tracked" in line
    assert "No space left on device" in line


def test_wandbs_own_variable_is_honoured(monkeypatch: Patch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    modes = {"off": "off", "wandb": "online", "online": "online", "offline": "offline"}
    assert {asked: tracking(asked).mode for asked in modes} == modes
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert tracking("wandb").mode == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert tracking("wandb").mode == "off"


def test_sync_without_a_server_keeps_what_there_is(server: WandbServer, tmp_path: Path) -> None:
    run_folder, _ = trained(tmp_path, "offline")
    server.stop()
    status, output = ended("scripts.sync", "--logs", tmp_path / "logs")
    assert (status, "does not answer" in output) == (2, True)
    assert len(unsent(run_folder)) == 1


def test_sync_leaves_a_run_that_is_still_written(server: WandbServer, tmp_path: Path) -> None:
    run_folder, _ = trained(tmp_path, "offline")
    with run_folder.lock():
        output = run("scripts.sync", "--logs", tmp_path / "logs")
    assert f"{run_folder.path}: is still being written; left for later" in output
    assert server.store.runs == {}


def test_a_damaged_file_is_named_others_go_up(server: WandbServer, tmp_path: Path) -> None:
    for part in ("one", "two"):
        (tmp_path / part).mkdir()
    run_folder, _ = trained(tmp_path / "one", "offline")
    [file] = unsent(run_folder)
    file.write_bytes(b"\0" * 100)
    _, dumps = trained(tmp_path / "two", "offline")
    logs = tmp_path / "logs"
    for part in ("one", "two"):
        shutil.move(tmp_path / part / "logs" / "small", logs / part)
    status, output = ended("scripts.sync", "--logs", logs)
    assert status == 1
    assert f"{file.parent.name}: not all was uploaded" in output
    moved = open_run(next((logs / "two").rglob("run.json")).parent)
    assert has_all(read_back(moved)[1], dumps)
