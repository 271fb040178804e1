"""custom.hub.client, and the client of the real Hub, against a Hub on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, ModelCard, constants, snapshot_download
from huggingface_hub.hf_api import CommitInfo

from custom.errors import UserError
from custom.hub import client as hub_client
from custom.hub.client import (
    NotFoundError,
    StaleError,
    UnreachableError,
    ask,
    client,
    log_in,
    without_token,
)
from tests.servers.hub import TOKEN, Hub

REPO = "tester/agent"
CARD = b"---\nlibrary_name: stable-baselines3\ntags:\n- PongNoFrameskip-v4\n---\n# Pong\n"
FILES = {
    "README.md": CARD,
    "agent.zip": np.random.default_rng(0).bytes(200_000),
    "empty.txt": b"",
    "folder of files/ü.json": b"{}",
    "replay.mp4": b"\0\0\0 ftyp",
}


def commit(files: dict[str, bytes], parent: str | None = None) -> CommitInfo:
    """Push files by the client as it is."""
    operations = [CommitOperationAdd(name, data) for name, data in files.items()]
    return client().create_commit(REPO, operations, commit_message="Agent", parent_commit=parent)


def asked(hub: Hub, method: str, part: str) -> list[int | None]:
    """The answers to requests with this in their path."""
    return [status for how, path, status in hub.requests if how == method and part in path]


@pytest.fixture(params=["hub", "hub_xet"])
def either_hub(request: pytest.FixtureRequest) -> Hub:
    """One that is uploaded to by LFS, and one by Xet."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, had there been a clock."""
    waited: list[float] = []
    monkeypatch.setattr("custom.hub.client.time.sleep", waited.append)
    return waited


def test_what_is_pushed_is_there_and_comes_back_byte_for_byte(
    either_hub: Hub, tmp_path: Path
) -> None:
    client().create_repo(REPO)
    commit(FILES)
    there = either_hub.files(REPO)
    assert {name: there[name] for name in FILES} == FILES
    back = Path(snapshot_download(REPO, local_dir=tmp_path / "back"))
    assert {name: (back / name).read_bytes() for name in FILES} == FILES


def test_the_client_takes_the_way_that_its_settings_say(either_hub: Hub) -> None:
    client().create_repo(REPO)
    commit(FILES)
    by_xet = either_hub.env["HF_HUB_DISABLE_XET"] == "0"
    assert bool(asked(either_hub, "GET", "/xet-write-token/")) == by_xet
    assert bool(asked(either_hub, "PUT", "/lfs/")) != by_xet


def test_the_same_again_makes_no_commit(either_hub: Hub) -> None:
    client().create_repo(REPO)
    first = commit(FILES)
    assert commit(FILES).oid == first.oid
    assert [made["title"] for made in either_hub.commits(REPO)] == ["initial commit", "Agent"]


def test_a_changed_large_file_is_a_commit(either_hub: Hub) -> None:
    client().create_repo(REPO)
    first = commit(FILES)
    commit({**FILES, "agent.zip": b"another"})
    assert either_hub.files(REPO)["agent.zip"] == b"another"
    assert either_hub.files(REPO, first.oid)["agent.zip"] == FILES["agent.zip"]


def test_the_list_of_models_goes_over_its_pages(hub: Hub) -> None:
    for number in range(5):
        hub.add(f"other/agent-{number}", {"README.md": CARD})
    hub.add("other/else", {"README.md": b"---\ntags: [CartPole-v1]\n---\n"})
    hub.page_size = 2
    found = client().list_models(filter="PongNoFrameskip-v4", expand=["cardData", "sha"])
    models = {model.id: model for model in found}
    assert sorted(models) == [f"other/agent-{number}" for number in range(5)]
    assert models["other/agent-0"].sha == hub.commits("other/agent-0")[-1]["id"]
    assert models["other/agent-0"].card_data.library_name == "stable-baselines3"
    assert asked(hub, "GET", "/api/models") == [200, 200, 200]
    assert len(list(client().list_models(author="other", search="AGENT", limit=3))) == 3


def test_the_history_the_tree_and_the_named_files_are_listed(hub: Hub) -> None:
    hub.add(REPO, FILES)
    api = client()
    assert [made.title for made in api.list_repo_commits(REPO)] == ["Added", "initial commit"]
    assert api.list_repo_refs(REPO).branches[0].target_commit == hub.commits(REPO)[-1]["id"]
    top = {entry.path for entry in api.list_repo_tree(REPO)}
    assert top == {".gitattributes", "folder of files", *FILES} - {"folder of files/ü.json"}
    assert {"folder of files/ü.json", "folder of files"} <= {
        entry.path for entry in api.list_repo_tree(REPO, recursive=True)
    }
    found = api.get_paths_info(REPO, ["agent.zip", "not there"])
    assert [(file.path, file.size) for file in found] == [("agent.zip", 200_000)]


def test_a_link_comes_as_a_file_with_its_target_in_it(hub: Hub, tmp_path: Path) -> None:
    hub.add(REPO, {}, symlinks={"config.yml": "/etc/passwd"})
    back = Path(snapshot_download(REPO, local_dir=tmp_path / "back")) / "config.yml"
    assert not back.is_symlink()
    assert back.read_text() == "/etc/passwd"


def test_a_private_repository_is_its_owners_alone(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("other/agent", FILES, private=True)
    client().create_repo(REPO, private=True)
    assert hub.private(REPO)
    assert [model.id for model in client().list_models()] == [REPO]
    with pytest.raises(NotFoundError):
        ask("other/agent", lambda: client().model_info("other/agent"))
    monkeypatch.delenv("HF_TOKEN")
    assert list(client().list_models()) == []
    with pytest.raises(NotFoundError, match="is not there, or is private"):
        ask(REPO, lambda: client().model_info(REPO))


def test_a_card_without_what_the_hub_asks_for_is_refused(hub: Hub) -> None:
    client().create_repo(REPO)
    card = "---\nlicense: MIT License\n---\n"
    with pytest.raises(ValueError, match=r'^"license" must be one of'):
        ModelCard(card).validate()
    with pytest.raises(UserError, match=r"refused with 400 .*must be one of"):
        ask("the commit", lambda: commit({"README.md": card.encode()}))
    assert len(hub.commits(REPO)) == 1


def test_the_name_is_asked_with_the_token(hub: Hub) -> None:
    assert log_in(client())[0] == "tester"


def test_without_a_token_the_hub_is_not_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"no Hugging Face token: run .*hf auth login, or set"):
        log_in(client())
    assert hub.requests == []


def test_a_token_that_may_only_read_does_not_log_in(hub: Hub) -> None:
    hub.role = "read"
    with pytest.raises(UserError, match=r"token of tester may only read: run .*the role write"):
        log_in(client())


def test_an_expired_token_is_said_to_be(hub: Hub) -> None:
    hub.token = "other"
    with pytest.raises(UserError, match=r"token is refused or has expired: run .*hf auth login"):
        log_in(client())
    assert len(hub.requests) == 1


def test_what_this_token_may_not_do_is_said(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"may not do that .*rights to write to other/agent"):
        ask("other/agent", lambda: client().create_repo("other/agent"))


@pytest.mark.parametrize("status", hub_client.BUSY)
def test_a_busy_hub_is_asked_again(hub: Hub, waits: list[float], status: int) -> None:
    hub.add(REPO, FILES)
    hub.fail("GET", "/api/models/", status, times=2)
    assert ask(REPO, lambda: client().model_info(REPO)).id == REPO
    assert asked(hub, "GET", "/api/models/") == [status, status, 200]
    assert waits == list(hub_client.WAITS[:2])


@pytest.mark.parametrize(
    ("named", "waited"), [("0", 0.0), ("7", 7.0), ("9999", 300.0), ("tomorrow", 1.0)]
)
def test_the_wait_that_the_hub_names_is_kept_up_to_five_minutes(
    hub: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch, named: str, waited: float
) -> None:
    monkeypatch.setattr(hub_client, "WAITS", (1.0,))
    hub.fail("GET", "/api/whoami-v2", 429, headers={"Retry-After": named})
    assert log_in(client())[0] == "tester"
    assert waits == [waited]


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_connection_is_asked_again(hub: Hub, waits: list[float], after: bool) -> None:
    hub.cut(0, after=after)
    assert log_in(client())[0] == "tester"
    assert [status for _, _, status in hub.requests] == [None, 200]
    assert len(waits) == 1


def test_a_hub_that_stays_busy_is_given_up(hub: Hub, waits: list[float]) -> None:
    hub.fail("GET", "/api/whoami-v2", 503, times=99)
    with pytest.raises(UnreachableError) as error:
        log_in(client())
    assert str(error.value) == (
        f"{hub.url}: the login: answers 503 again and again; the same command goes on later"
    )
    assert len(hub.requests) == 4
    assert len(waits) == 3


def test_what_took_long_to_fail_is_not_asked_again(
    hub: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "PATIENCE", -1.0)
    hub.fail("GET", "/api/whoami-v2", 503)
    with pytest.raises(UnreachableError):
        log_in(client())
    assert waits == []


def test_a_hub_that_is_not_there_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.stop()
    with pytest.raises(UnreachableError, match=f"{hub.url}: the login: cannot be reached"):
        log_in(client())


def test_an_address_that_is_none_is_asked_once(
    hub: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "hub.example")
    with pytest.raises(UnreachableError, match=r"hub\.example: the login: cannot be reached"):
        log_in(client())
    assert waits == []


def test_what_is_not_there_is_asked_for_once(hub: Hub) -> None:
    with pytest.raises(NotFoundError, match="tester/none: is not there"):
        ask("tester/none", lambda: client().model_info("tester/none"))
    hub.add(REPO, FILES)
    with pytest.raises(NotFoundError):
        ask("revision v9", lambda: client().model_info(REPO, revision="v9"))
    with pytest.raises(NotFoundError):
        ask("a file", lambda: client().hf_hub_download(REPO, "none.zip"))
    assert all(path.count("none") + path.count("v9") == 1 for _, path, _ in hub.requests)


def test_a_name_that_is_none_is_not_asked_for(hub: Hub) -> None:
    with pytest.raises(UserError, match="write REPO=user/name"):
        ask("REPO", lambda: client().model_info("a/b/c"))
    assert hub.requests == []


def test_a_commit_on_a_stale_parent_is_told_apart(either_hub: Hub) -> None:
    old = either_hub.add(REPO, {})
    new = either_hub.add(REPO, {"other.txt": b"of somebody else"})
    with pytest.raises(StaleError):
        ask("the commit", lambda: commit(FILES, parent=old))
    assert either_hub.commits(REPO)[-1]["id"] == new
    ask("the commit", lambda: commit(FILES, parent=new))
    assert "other.txt" in either_hub.files(REPO)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(either_hub: Hub) -> None:
    parent = either_hub.add(REPO, {})
    files = {"config.yml": b"a: 1"}
    either_hub.cut(1, after=True)  # preupload, commit
    assert ask("the commit", lambda: commit(files, parent=parent)).oid != parent
    assert [made["title"] for made in either_hub.commits(REPO)][1:] == ["Added", "Agent"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/validate-yaml"),
        ("POST", "/preupload/"),
        ("POST", "/objects/batch"),
        ("PUT", "/lfs/"),
        ("POST", "/verify"),
        ("POST", "/commit/"),
    ],
)
def test_each_step_of_a_push_outlives_a_busy_hub(hub: Hub, method: str, path: str) -> None:
    client().create_repo(REPO)
    hub.fail(method, path, 503, times=2)
    ask("the commit", lambda: commit(FILES))
    assert asked(hub, method, path)[:3].count(503) == 2
    assert hub.files(REPO)["agent.zip"] == FILES["agent.zip"]


def test_an_upload_that_keeps_failing_says_why(hub: Hub) -> None:
    client().create_repo(REPO)
    hub.fail("PUT", "/lfs/", 500, times=99)
    with pytest.raises(UnreachableError, match="answers 500 again and again"):
        ask("the commit", lambda: commit(FILES))
    hub.fail("POST", "/objects/batch", 401)
    with pytest.raises(UserError, match="refused or has expired"):
        ask("the commit", lambda: commit(FILES))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the token is refused or has expired"),
        (403, "this token may not do that"),
        (404, "is not there"),
        (503, "answers 503 again and again"),
    ],
)
def test_what_refuses_an_upload_by_xet_is_said(hub_xet: Hub, status: int, said: str) -> None:
    client().create_repo(REPO)
    hub_xet.fail("GET", "/xet-write-token/", status, times=99)
    with pytest.raises(UserError, match=said):
        ask("the commit", lambda: commit(FILES))
    assert len(hub_xet.commits(REPO)) == 1


def test_a_page_of_a_proxys_instead_of_an_answer_is_asked_again(hub: Hub) -> None:
    client().create_repo(REPO)
    hub.fail("POST", "/api/validate-yaml", 502, body=b"<html>Bad gateway</html>")
    ask("the commit", lambda: commit(FILES))
    hub.fail("GET", "/api/whoami-v2", 200, times=99, body=b"<html>Log in to the network</html>")
    with pytest.raises(UnreachableError, match="not a Hub's; is HF_ENDPOINT right"):
        log_in(client())


@pytest.mark.parametrize("path", ["/revision/", "/tree/", "/resolve/"])
def test_a_download_outlives_a_busy_hub_and_a_lost_one(hub: Hub, tmp_path: Path, path: str) -> None:
    hub.add(REPO, FILES)

    def download(name: str) -> Path:
        return Path(ask(REPO, lambda: snapshot_download(REPO, local_dir=tmp_path / name)))

    hub.fail("GET", path, 503, times=2)
    assert (download("busy") / "agent.zip").read_bytes() == FILES["agent.zip"]
    hub.cut(2)
    assert (download("cut") / "agent.zip").read_bytes() == FILES["agent.zip"]


@pytest.mark.parametrize(
    ("status", "said"), [(401, "refused or has expired"), (403, "may not do that")]
)
def test_a_download_that_is_refused_says_why(
    hub: Hub, tmp_path: Path, status: int, said: str
) -> None:
    hub.add(REPO, FILES)
    hub.fail("GET", "/revision/", status)
    with pytest.raises(UserError, match=said):
        ask(REPO, lambda: snapshot_download(REPO, local_dir=tmp_path / "back"))


def test_offline_is_said_and_asked_once(
    hub: Hub, waits: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for call in (
        client().whoami,
        lambda: snapshot_download(REPO, local_dir=tmp_path / "back"),
    ):
        with pytest.raises(UnreachableError, match="unset it to reach the Hub"):
            ask("the login", call)
    assert waits == []


def test_a_full_disk_is_said() -> None:
    with pytest.raises(UserError, match="tester/agent: the disk is full"):
        ask(REPO, lambda: Path("/dev/full").write_bytes(b"x"))


def test_what_is_no_fault_of_the_hubs_stays_what_it_is() -> None:
    def call() -> None:
        try:
            raise OSError("of ours")
        except OSError as error:
            raise RuntimeError("ours") from error

    with pytest.raises(RuntimeError, match="ours"):
        ask("x", call)


@pytest.mark.parametrize("status", [400, 401, 403, 409, 500])
def test_no_message_holds_the_token(hub: Hub, status: int) -> None:
    hub.add(REPO, {})
    headers = {"X-Error-Message": f"{TOKEN} is bad"}
    hub.fail("GET", "/api/", status, times=99, headers=headers)
    with pytest.raises(UserError) as error:
        ask(f"{TOKEN}", lambda: client().model_info(REPO))
    assert TOKEN not in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize("wrong", ["\x01", "\x7f", "…", "é", "\r\n", " \n "])
def test_a_token_with_what_cannot_be_sent_is_refused_unseen(hub: Hub, wrong: str) -> None:
    token = f"{TOKEN[:10]}{wrong}{TOKEN[10:]}"
    hub.token = "other"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", token)
        with pytest.raises(UserError, match=r"token .*run .*auth login") as error:
            log_in(client())
    assert TOKEN[10:] not in str(error.value)
    assert TOKEN[:10] not in str(error.value)
    assert str(error.value).isprintable()


def test_a_password_in_the_hubs_address_is_not_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("//", "//me:secret@"))
    hub.stop()
    with pytest.raises(UnreachableError) as error:
        log_in(client())
    assert "secret" not in str(error.value)


def test_what_looks_like_a_token_is_taken_out_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "of-an-unusual-form")
    text = f"a {TOKEN}, of-an-unusual-form, hf_oauth_ab.c-d_e and hf_hub"
    assert without_token(text) == "a ***, ***, *** and hf_hub"
