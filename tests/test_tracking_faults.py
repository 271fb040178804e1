"""A W&B that is dead, silent or gone: the training is the same, the rest arrives later."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch as th

from custom.tracking import client
from custom.tracking.files import unsent
from custom.tracking.session import Session
from custom.tracking.wish import Tracking
from tests.servers.wandb_server import WandbServer
from tests.tracked import (
    experiment,
    has_all,
    holds,
    read_back,
    same,
    trained,
    upload,
    warnings,
)


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
    assert clients() == []  # this process would wait for one
    [found] = wandb_server.store.runs.values()
    assert len(found["history"]) == 2
    if fault == "client killed":  # what it had not yet written to its file is lost
        return
    mend(wandb_server, monkeypatch)
    assert [upload(run_folder), upload(run_folder)] == [1, 0]
    assert has_all(read_back(run_folder)[1], dumps)


def kill_client() -> None:
    """Kill the client's own process."""
    for pid in clients():
        os.kill(pid, 9)


def clients() -> list[int]:
    """The client's own processes that this one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        status = folder / "status"
        text = status.read_text() if status.exists() else ""
        if f"PPid:\t{os.getpid()}\n" in text and "wandb-core" in text and "zombie" not in text:
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("what", ["film", "agent"])
def test_a_file_that_did_not_arrive_is_told_of_and_sent_again(
    wandb_server: WandbServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
) -> None:
    monkeypatch.setattr(client, "CONFIRM", 1.0)
    made, _ = experiment(tmp_path, "offline")
    made.run.update(state="finished", steps=0)
    (tmp_path / "file.mp4").write_bytes(b"0000ftyp")
    wandb_server.fail("/storage/.*(mp4|zip)", 403)
    session = Session(made.run, Tracking("online"), {})
    session.start()
    session.log({"train/loss": 0.5, "steps": 1})
    if what == "film":
        session.log_video(tmp_path / "file.mp4", {"steps": 2})
    else:
        (tmp_path / "agent.zip").write_bytes(b"PK")
        session.save_model(tmp_path / "agent.zip")
    session.finish(0)
    assert len(warnings(capsys.readouterr().out)) == 1
    assert len(unsent(made.run)) == 1
    assert clients() == []
