"""`make sync`: what did not reach W&B is uploaded later, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from custom.system.errors import UserError
from custom.tracking import sync
from custom.tracking.files import stretches, unsent
from custom.tracking.session import Session
from custom.tracking.wish import Tracking
from tests.conftest import run, start
from tests.servers.wandb_server import WandbServer
from tests.tracked import (
    has_all,
    read_back,
    trained,
    upload,
)


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


def test_a_server_that_takes_no_rows_ends_a_sync_in_a_line(
    wandb_server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder, dumps = trained(tmp_path, "offline")
    monkeypatch.setattr(sync, "PATIENCE", 8)
    wandb_server.freeze("file_stream")
    with pytest.raises(UserError, match="not uploaded"):
        upload(run_folder)
    assert len(unsent(run_folder)) == 1
    wandb_server.mend()
    monkeypatch.undo()
    assert upload(run_folder) == 1
    assert has_all(read_back(run_folder)[1], dumps)


def test_a_damaged_file_is_told_from_one_that_can_go_on(
    wandb_server: WandbServer, tmp_path: Path
) -> None:
    run_folder, _ = trained(tmp_path, "offline")
    [file] = unsent(run_folder)
    file.write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match="is damaged; delete its folder"):
        upload(run_folder)


def test_a_damaged_run_that_was_tracked_is_named(wandb_server: WandbServer, tmp_path: Path) -> None:
    run_folder, _ = trained(tmp_path, "offline")
    (run_folder.path / "recipe.yml").write_text("{")
    process = start("scripts.sync", "--logs", tmp_path / "logs")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert f"RUN {run_folder.path}: is not a run folder" in output
