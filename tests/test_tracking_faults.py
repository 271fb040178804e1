"""A W&B that is dead, silent or gone: the training is the same, the rest arrives later."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import wandb

from custom.tracking import client
from custom.tracking.tracker import unsent, upload
from tests.conftest import Patch, Printed, longer
from tests.servers.wandb_server import WandbServer
from tests.tracked import Tensors, has_all, holds, plain, read_back, same, trained, warnings

SPOIL: dict[str, Callable[[WandbServer, Patch], object]] = {
    "dead": lambda server, _: server.stop(),
    "silent init": lambda server, _: server.freeze("UpsertBucket"),
    "key": lambda _, patch: patch.setenv("WANDB_API_KEY", "z" * 40),
    "no key": lambda _, patch: patch.delenv("WANDB_API_KEY"),
    "silent": lambda server, _: server.freeze(),
    "storm": lambda server, _: server.fail("", 500),
    "bad key": lambda _, patch: patch.setenv("WANDB_API_KEY", "z" * 20),
    "dns": lambda _, patch: patch.setenv("WANDB_BASE_URL", "http://no-such-host.invalid"),
}


@pytest.mark.parametrize("fault", [*list(SPOIL)[:4], *longer(*list(SPOIL)[4:])])
def test_without_a_server_the_training_is_the_same_and_goes_up_later(
    server: WandbServer,
    tmp_path: Path,
    untracked: Tensors,
    monkeypatch: Patch,
    capsys: Printed,
    fault: str,
) -> None:
    monkeypatch.setattr(client, "ANSWER", 2.0)
    monkeypatch.setattr(client, "START", 2.0)
    SPOIL[fault](server, monkeypatch)
    secret = os.environ.get("WANDB_API_KEY", "")
    run_folder, dumps = trained(tmp_path, "online")
    assert same(run_folder, untracked)
    printed = capsys.readouterr()
    assert len(warnings(printed.out)) == 1
    assert "tracked offline" in warnings(printed.out)[0]
    assert printed.err == ""
    assert server.store.runs == {}
    assert not secret or not holds(run_folder.path, secret)
    mend(server, monkeypatch)
    assert upload(run_folder) == []
    assert has_all(read_back(run_folder)[1], dumps)


def mend(server: WandbServer, monkeypatch: Patch) -> None:
    wandb.teardown()
    monkeypatch.setattr(client, "ANSWER", 60.0)
    server.mend()
    server.restart()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("fault", ["client killed", *longer("silent", "dead", "storm")])
def test_a_server_lost_in_mid_run_changes_nothing_and_gets_the_rest_later(
    server: WandbServer,
    tmp_path: Path,
    untracked: Tensors,
    monkeypatch: Patch,
    capsys: Printed,
    fault: str,
) -> None:
    monkeypatch.setattr(client, "FINISH", 2.0)
    monkeypatch.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "0.05")

    def lose() -> None:
        server.wait_for_rows(2)
        SPOIL.get(fault, kill_client)(server, monkeypatch)

    run_folder, dumps = trained(tmp_path, "online", then=lose)
    assert same(run_folder, untracked)
    printed = capsys.readouterr()
    assert len(warnings(printed.out)) == 1, printed.out
    assert "make sync" in warnings(printed.out)[0] or fault == "client killed"
    assert printed.err == ""
    [found] = server.store.runs.values()
    assert len(found["history"]) == 2
    if fault == "client killed":  # what it had not yet written to its file is lost
        return
    mend(server, monkeypatch)
    assert len(unsent(run_folder)) == 1
    assert upload(run_folder) == []
    assert unsent(run_folder) == []
    by_step = {row["_step"]: plain(row) for row in found["history"]}  # rows may be there twice
    assert has_all(list(by_step.values()), dumps)


def kill_client(*_: object) -> None:
    for folder in Path("/proc").glob("[0-9]*"):
        status = folder / "status"
        text = status.read_text() if status.exists() else ""
        if f"PPid:\t{os.getpid()}\n" in text and "wandb-core" in text:
            os.kill(int(folder.name), 9)
