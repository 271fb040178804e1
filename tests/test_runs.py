"""Run folders: numbers, whole files, what is no run, and damaged files (corpus/)."""

import json
import os
import random
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz import Reader, SmallRuns, damaged, problem_of
from custom.recipe.games import find_game
from custom.runs.folder import claim_folder, latest_run, open_run
from custom.system.errors import UserError
from custom.system.files import atomic_file, atomic_folder, write_json
from tests.conftest import SMALL, Patch

PONG = find_game("Pong")


def a_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    facts = {"env_id": PONG.env_id, "recipe": "dqn", "algo": "dqn", "seed": 0, "frame_skip": 4}
    write_json(folder / "run.json", facts)
    (folder / "recipe.yml").write_text(json.dumps({PONG.env_id: SMALL}))
    return folder


def test_runs_started_together_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: claim_folder(tmp_path / "a", "Pong"), range(64)))
    assert {folder.name for folder in folders} == {f"Pong_{n}" for n in range(1, 65)}


def test_the_next_number_follows_the_highest_where_it_can_be_written(tmp_path: Path) -> None:
    for name in ("Pong_2", "Pong_10", "Pong_x", "SuperPong_99"):
        (tmp_path / name).mkdir()
    assert claim_folder(tmp_path, "Pong").name == "Pong_11"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"LOGS .*file/dqn: cannot be written \(Not a directory\)"):
        claim_folder(tmp_path / "file" / "dqn", "Pong")


def test_the_latest_run_is_the_one_that_began_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run of PongNoFrameskip-v4 in .*; train one"):
        latest_run(tmp_path, PONG)
    begun = [("a", 9, "2026-01-02"), ("b", 9, "2026-01-03"), ("b", 10, "2026-01-03")]
    for name, number, started in [*begun, ("c", 11, "2026-01-01")]:
        folder = a_run(tmp_path / name / "dqn" / f"{PONG.env_id}_{number}")
        open_run(folder).update(recipe=name, started=started)
    (tmp_path / "b" / "dqn" / f"{PONG.env_id}_11").mkdir()  # no run
    assert latest_run(tmp_path, PONG).path == tmp_path / "b" / "dqn" / f"{PONG.env_id}_10"
    assert latest_run(tmp_path, PONG, "a").path.parents[1].name == "a"
    with pytest.raises(UserError, match=r"v4 with dqn in .*; there are runs of a, b, c"):
        latest_run(tmp_path, PONG, "dqn")


@pytest.mark.parametrize(
    "content",
    [None, '{"env_id":\n', {"seed": "x"}, {"frame_skip": None}, {"env_id": "Nope"}, {"steps": "x"}],
)
def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, content: Any) -> None:
    folder = a_run(tmp_path / "run")
    facts = json.loads((folder / "run.json").read_text())
    text = json.dumps(facts | content) if isinstance(content, dict) else content
    (folder / "run.json").unlink() if text is None else (folder / "run.json").write_text(text)
    with pytest.raises(UserError, match="not a run folder") as error:
        open_run(folder)
    assert "\n" not in str(error.value)


def test_a_relative_path_is_a_run_with_a_checked_recipe(tmp_path: Path, monkeypatch: Patch) -> None:
    folder = a_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert open_run(Path("run")).path == folder
    entry = {**SMALL, "env_wrapper": "os.system"}
    (folder / "recipe.yml").write_text(json.dumps({PONG.env_id: entry}))
    with pytest.raises(UserError, match=r"env_wrapper is 'os\.system'"):
        open_run(folder)


def test_a_broken_off_run_is_its_last_checkpoint_and_one_in_use_refused(tmp_path: Path) -> None:
    run = open_run(a_run(tmp_path / "run"))
    with pytest.raises(UserError, match="has no final model"):
        run.model("final")
    for steps in (200, 1000):
        (run.path / f"rl_model_{steps}_steps.zip").touch()
    assert run.model("final").name == "rl_model_1000_steps.zip"
    assert not run.is_locked()
    with run.lock():
        assert run.is_locked()
        with pytest.raises(UserError, match="in use by another process; wait until it finishes"):
            run.lock(seconds=0.1)
    assert not run.is_locked()


def test_a_folder_or_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    for text in ("old", "new"):
        with atomic_folder(folder) as partial:
            (partial / text).touch()
        assert os.listdir(folder) == [text]
    with pytest.raises(RuntimeError), atomic_folder(folder) as partial:
        raise RuntimeError
    assert os.listdir(folder) == ["new"]
    assert os.listdir(tmp_path) == ["state"]
    file = tmp_path / "x.json"
    write_json(file, {"old": 1})
    with pytest.raises(RuntimeError), atomic_file(file) as broken:
        raise RuntimeError(broken.write(b"half"))
    assert json.loads(file.read_text()) == {"old": 1}
    assert sorted(os.listdir(tmp_path)) == ["state", "x.json"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: Patch) -> None:
    file, synced = tmp_path / "x.json", []
    monkeypatch.setattr(
        "custom.system.files.os.fsync",
        lambda handle: synced.append((os.readlink(f"/proc/self/fd/{handle}"), file.exists())),
    )
    write_json(file, {})
    [(partial, before), folder] = synced
    assert (Path(partial).suffix, before) == (".json", False)
    assert folder == (str(tmp_path), True)
    write_json(file, {})
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return {reader.name: reader for reader in SmallRuns(tmp_path_factory.mktemp("fuzz")).readers()}


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_what_once_failed(file: Path, known: dict[str, Reader]) -> None:
    assert problem_of(known[file.stem], file.read_bytes()) == ""


def test_some_of_the_many(known: dict[str, Reader]) -> None:
    rng = random.Random(7)
    for reader in known.values():
        for _ in range(round(300 * reader.share)):
            content = damaged(rng.choice(reader.seeds), rng)
            assert problem_of(reader, content) == "", content[:2000]
