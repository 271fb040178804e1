"""`make sync`: what did not reach W&B is uploaded later, once."""

import shutil
from pathlib import Path

from custom.runs.folder import open_run
from custom.tracking.tracker import unsent
from tests.conftest import ended, run
from tests.servers.wandb_server import WandbServer
from tests.tracked import has_all, read_back, trained


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


def test_a_damaged_file_is_named_and_others_are_uploaded(
    server: WandbServer, tmp_path: Path
) -> None:
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
