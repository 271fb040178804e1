"""Trainings tracked by W&B's own client on a W&B of this machine, and read back through its API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch as th
import wandb
import yaml
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

from custom.errors import UserError
from custom.experiment import Experiment, build
from custom.games import find_game
from custom.recipes import load_recipe
from custom.runs import Run
from custom.settings import Settings
from custom.tracking import client, sync
from custom.tracking.files import stretches, unsent
from custom.tracking.session import Session
from custom.tracking.wish import Tracking, tracking
from custom.training import train
from tests.conftest import ROOT, SMALL, run, start
from tests.servers.wandb_server import WandbServer

PONG = find_game("Pong")
NEVER = 10**9


class Dumps(BaseCallback):
    """Dumps the logger as the end of every fourth game would, and keeps what it held."""

    def __init__(self, then: Any = None) -> None:
        super().__init__()
        self.then = then
        self.held: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % 30 == 0:
            held = dict(self.logger.name_to_value)
            self.held.append({**held, "steps": self.num_timesteps})
            self.logger.dump(self.num_timesteps)
            if self.then is not None and len(self.held) == 2:
                self.then()
        return True


def experiment(folder: Path, mode: str, **wanted: Any) -> tuple[Experiment, DQN]:
    """A small experiment on Pong, of 120 steps."""
    file = folder / "small.yml"
    file.write_text(yaml.safe_dump({"atari": {**SMALL, "learning_starts": 12}}))
    recipe = load_recipe(str(file), PONG).with_budget(120)
    asked = Settings(seed=0, logs=folder / "logs", eval_freq=NEVER, eval_episodes=1)
    asked = Settings(**{**vars(asked), **wanted, "tracking": Tracking(mode)})
    return build(recipe, PONG, asked)


def trained(folder: Path, mode: str, then: Any = None, **wanted: Any) -> tuple[Run, Dumps]:
    """Its run folder, and what SB3's logger dumped."""
    made, model = experiment(folder, mode, **wanted)
    dumps = Dumps(then)
    made.callbacks.insert(0, dumps)
    assert train(made, model) == 0
    assert made.run is not None
    return made.run, dumps


def weights(run: Run) -> list[th.Tensor]:
    return list(DQN.load(run.final_model, device="cpu").policy.state_dict().values())


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> list[th.Tensor]:
    """Weights of the same training without W&B."""
    return weights(trained(tmp_path_factory.mktemp("untracked"), "off")[0])


def same(run: Run, expected: list[th.Tensor]) -> bool:
    return all(th.equal(a, b) for a, b in zip(weights(run), expected, strict=True))


def read_back(run: Run) -> tuple[Any, list[dict[str, Any]]]:
    """A run and its rows as the API gives them, without what W&B adds."""
    api = wandb.Api(timeout=10)
    found = api.run(f"tester/sb3-atari-dqn/{run.facts['wandb']['id']}")
    rows = [dict(row) for row in found.scan_history()]
    return found, [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]


def has_all(rows: list[dict[str, Any]], dumps: Dumps) -> bool:
    """Whether the rows are the dumps, to the bit."""
    kept = [{k: row.get(k) for k in dump} for dump, row in zip(dumps.held, rows, strict=True)]
    return kept == dumps.held and all("train/loss" in row for row in rows)


def upload(run: Run) -> int:
    """As `make sync`; how many stretches were uploaded."""
    sync.check()
    waiting, _ = sync.pending([run])
    return sum(sync.upload(run) for run in waiting)


def warnings(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("warning")]


def test_an_online_run_is_read_back_as_it_was_logged(
    wandb_server: WandbServer,
    tmp_path: Path,
    untracked: list[th.Tensor],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_folder, dumps = trained(tmp_path, "online")
    found, rows = read_back(run_folder)
    assert has_all(rows, dumps)
    assert [row["steps"] for row in rows] == [30, 60, 90, 120]
    assert [row["frames"] for row in rows] == [120, 240, 360, 480]
    assert {"train/gradient_norm", "rollout/exploration_rate", "system/memory_gb"} <= set(rows[-1])
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


def test_an_offline_run_is_the_same_once_it_is_uploaded_and_is_uploaded_once(
    wandb_server: WandbServer, tmp_path: Path, untracked: list[th.Tensor]
) -> None:
    run_folder, dumps = trained(tmp_path, "offline")
    assert wandb_server.requests == []
    assert same(run_folder, untracked)
    output = run("scripts.sync", "--logs", tmp_path / "logs")
    assert f"{run_folder.path}: uploaded to " in output
    found, rows = read_back(run_folder)
    assert has_all(rows, dumps)
    assert (found.state, found.group) == ("finished", "Pong/small")
    assert "nothing to upload" in run("scripts.sync", "--logs", tmp_path / "logs")


@pytest.mark.parametrize(
    "fault", ["dead", "silent", "silent init", "storm", "key", "no key", "bad key", "init", "dns"]
)
def test_without_a_server_the_training_is_the_same_and_goes_up_later(
    wandb_server: WandbServer,
    tmp_path: Path,
    untracked: list[th.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    monkeypatch.setattr(client, "ANSWER", 2.0)
    monkeypatch.setattr(client, "START", 2.0)
    secret = spoil(wandb_server, monkeypatch, fault)
    run_folder, dumps = trained(tmp_path, "online")
    assert same(run_folder, untracked)
    printed = capsys.readouterr()
    assert len(warnings(printed.out)) == 1
    assert "tracked offline" in warnings(printed.out)[0]
    assert printed.err == ""
    assert wandb_server.store.runs == {}
    assert not secret or not holds(run_folder.path, secret)
    mend(wandb_server, monkeypatch)
    assert upload(run_folder) == 1
    assert has_all(read_back(run_folder)[1], dumps)


def spoil(server: WandbServer, monkeypatch: pytest.MonkeyPatch, fault: str) -> str:
    """Make something go wrong; the key that is then in use."""
    if fault == "dead":
        server.stop()
    elif fault == "storm":
        server.fail("", 500)
    elif fault == "silent":
        server.freeze()
    elif fault == "silent init":
        server.freeze("UpsertBucket")
    elif fault == "init":
        server.fail("UpsertBucket", 500)
    elif fault == "dns":
        monkeypatch.setenv("WANDB_BASE_URL", "http://no-such-host.invalid")
    elif fault == "no key":
        monkeypatch.delenv("WANDB_API_KEY")
    else:
        monkeypatch.setenv("WANDB_API_KEY", "z" * (40 if fault == "key" else 20))
    return os.environ.get("WANDB_API_KEY", "")


def mend(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is well again, and the client knows nothing of before."""
    client.forget()
    server.mend()
    server.restart()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)


def holds(folder: Path, secret: str) -> bool:
    """Whether a file in a folder has these letters in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return any(secret.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("fault", ["killed", "silent", "storm", "refused", "client killed"])
def test_a_server_lost_in_mid_run_changes_nothing_and_gets_the_rest_later(
    wandb_server: WandbServer,
    tmp_path: Path,
    untracked: list[th.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    monkeypatch.setattr(client, "FINISH", 2.0)
    monkeypatch.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "0.05")
    happens = {
        "killed": wandb_server.stop,
        "silent": wandb_server.freeze,
        "storm": lambda: wandb_server.fail("", 500),
        "refused": lambda: wandb_server.fail("", 401),
        "client killed": kill_client,
    }[fault]

    def lose() -> None:
        wandb_server.wait_for_rows(2)
        happens()

    run_folder, dumps = trained(tmp_path, "online", then=lose)
    assert same(run_folder, untracked)
    printed = capsys.readouterr()
    assert len(warnings(printed.out)) == 1, printed.out
    assert "make sync" in warnings(printed.out)[0] or fault == "client killed"
    assert printed.err == ""
    [found] = wandb_server.store.runs.values()
    assert len(found["history"]) == 2
    if fault == "client killed":  # what it had not yet written to its file is lost
        return
    mend(wandb_server, monkeypatch)
    assert [upload(run_folder), upload(run_folder)] == [1, 0]
    assert has_all(read_back(run_folder)[1], dumps)


def kill_client() -> None:
    """Kill the client's own process."""
    for folder in Path("/proc").glob("[0-9]*"):
        status = folder / "status"
        text = status.read_text() if status.exists() else ""
        if f"PPid:\t{os.getpid()}\n" in text and "wandb-core" in text:
            os.kill(int(folder.name), 9)


def test_a_row_that_had_arrived_is_not_there_twice_after_a_sync(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    run_folder, dumps = trained(tmp_path, "online")
    found = wandb_server.run(run_folder.facts["wandb"]["id"])
    del found["history"][2:]  # as if the connection had been lost then
    for file in stretches(run_folder):
        file.with_name(f"{file.name}.synced").unlink()
    assert upload(run_folder) == 1
    assert has_all(read_back(run_folder)[1], dumps)


def test_a_training_that_goes_on_adds_to_the_same_run(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    run_folder, _ = trained(tmp_path, "online")
    session = Session(run_folder, Tracking("online"), {})
    session.start()
    session.log({"train/loss": 0.5, "steps": 150})
    session.finish(0)
    assert len(wandb_server.store.runs) == 1
    steps = [row["steps"] for row in read_back(run_folder)[1]]
    assert steps == [30, 60, 90, 120, 150]


def test_a_stretch_after_one_that_waits_waits_too_and_both_arrive_in_order(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    run_folder, _ = trained(tmp_path, "offline")
    session = Session(run_folder, Tracking("online"), {})
    session.start()
    session.log({"train/loss": 0.5, "steps": 150})
    session.finish(0)
    assert wandb_server.store.runs == {}
    assert len(unsent(run_folder)) == 2
    assert upload(run_folder) == 2
    assert [row["steps"] for row in read_back(run_folder)[1]] == [30, 60, 90, 120, 150]


def test_games_evaluations_films_and_the_model_arrive_through_the_command(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    file = tmp_path / "small.yml"
    file.write_text(yaml.safe_dump({"atari": {**SMALL, "learning_starts": 10**6}}))
    flags = ("--game", "Breakout", "--recipe", file, "--logs", tmp_path / "logs", "--steps", 500)
    more = ("--eval-freq", 400, "--eval-episodes", 2, "--episodes", 1, "--seed", 0)
    tracked = ("--track", "wandb", "--track-videos", "--track-model")
    output = run("scripts.train", *flags, *more, *tracked)
    folder = Path(output.splitlines()[-1].removeprefix("Run: "))
    [[run_id, found]] = wandb_server.store.runs.items()
    games = [row for row in found["history"] if "training/score" in row]
    played = (folder / "training_games.csv").read_text().splitlines()[1:]
    assert [f"{r['steps']},{r['frames']}" for r in games] == [p.rsplit(",", 2)[0] for p in played]
    assert [r["training/score"] for r in games] == [float(p.split(",")[2]) for p in played]
    [row] = [row for row in found["history"] if "eval/mean_score" in row]
    assert sum(row["eval/scores"]) / 2 == row["eval/mean_score"]
    assert {"eval/std_score", "eval/median_score", "eval/mean_max_q"} <= set(row)
    [film] = [row["eval/video"]["path"] for row in found["history"] if "eval/video" in row]
    assert wandb_server.store.files[run_id][film][4:8] == b"ftyp"
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert found["summary"]["final_evaluation"]["mean"] == evaluation["mean"]
    [model] = [files for name, files in wandb_server.store.files.items() if "artifact" in name]
    assert (
        model["BreakoutNoFrameskip-v4.zip"] == (folder / "BreakoutNoFrameskip-v4.zip").read_bytes()
    )
    assert not holds(folder, wandb_server.key)


def test_an_untracked_training_does_not_import_wandb(tmp_path: Path, small_recipe: Path) -> None:
    (tmp_path / "wandb.py").write_text("raise RuntimeError('imported')")
    code = "import scripts.train as t; t.options.main(t.parser, t.command)"
    flags = ("--game", "Pong", "--recipe", small_recipe, "--logs", tmp_path / "logs")
    short = ("--steps", 40, "--eval-freq", NEVER, "--no-report")
    command = [sys.executable, "-c", code, *map(str, (*flags, *short))]
    paths = f"{tmp_path}{os.pathsep}{ROOT}"
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_wandbs_own_variable_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert [tracking(asked).mode for asked in ("off", "wandb", "online", "offline")] == [
        "off",
        "online",
        "online",
        "offline",
    ]
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert tracking("wandb").mode == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not tracking("wandb").is_on
    with pytest.raises(UserError, match="need TRACK=wandb"):
        tracking("off", videos=True)


def test_sync_without_a_server_says_so_and_keeps_what_there_is(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    run_folder, _ = trained(tmp_path, "offline")
    wandb_server.stop()
    process = start("scripts.sync", "--logs", tmp_path / "logs")
    output, _ = process.communicate()
    assert process.returncode == 2
    assert "does not answer; nothing was uploaded" in output
    assert output.count("\n") == 1
    assert len(unsent(run_folder)) == 1


def test_sync_leaves_a_run_alone_that_is_still_written(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    run_folder, _ = trained(tmp_path, "offline")
    with run_folder.lock():
        output = run("scripts.sync", "--logs", tmp_path / "logs")
    assert f"{run_folder.path}: is still written; left for later" in output
    assert wandb_server.store.runs == {}
