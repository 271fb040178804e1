"""custom.hub.client, and the client of the real Hub, against a Hub on this machine."""

from collections.abc import Callable

import pytest
from huggingface_hub import CommitOperationAdd, constants

from custom.hub.client import client, hub_errors, log_in, without_token
from custom.system.errors import UserError
from tests.conftest import Patch
from tests.servers.hub import TOKEN, Hub

REPO = "tester/agent"


WHOAMI = "/api/whoami-v2"
LOGINS: dict[str, Callable[[Hub, Patch], object]] = {
    r"no token found.*hf auth login": lambda _, patch: patch.delenv("HF_TOKEN"),
    "tester may only read: run .*the role write": lambda hub, _: setattr(hub, "role", "read"),
    "is refused or has expired; run .*hf auth login": lambda hub, _: setattr(hub, "token", "x"),
    "login: the Hub answers 503; run the same comm": lambda hub, _: hub.fail("GET", WHOAMI, 503),
    "is not a Hub's; check HF_ENDPOINT": lambda hub, _: hub.fail("GET", WHOAMI, 200, b"<html>"),
    "unset the `HF_HUB_OFFLINE`": lambda _, patch: patch.setattr(constants, "HF_HUB_OFFLINE", True),
    "http://127.0.0.1:[0-9]+: login: cannot be reached": lambda hub, _: hub.stop(),
    "^hub: login: cannot be reached": lambda _, patch: patch.setattr(constants, "ENDPOINT", "hub"),
}


@pytest.mark.parametrize("said", LOGINS)
def test_why_nobody_is_logged_in_is_said(said: str, hub: Hub, monkeypatch: Patch) -> None:
    LOGINS[said](hub, monkeypatch)
    with pytest.raises(UserError, match=said):
        log_in(client())
    assert "no token" not in said or hub.requests == []


def test_what_this_token_may_not_do_is_said(hub: Hub) -> None:
    said = r"may not do that .*rights to write to other/agent"
    with pytest.raises(UserError, match=said), hub_errors("other/agent"):
        client().create_repo("other/agent")


def test_a_missing_repository_revision_or_file_is_told(hub: Hub) -> None:
    with pytest.raises(UserError, match="tester/none: is not there"), hub_errors("tester/none"):
        client().model_info("tester/none")
    hub.add(REPO, {})
    with pytest.raises(UserError, match=r"none\.zip: is not there"), hub_errors("none.zip"):
        client().hf_hub_download(REPO, "none.zip")


def test_an_upload_that_keeps_failing_says_why(hub: Hub) -> None:
    client().create_repo(REPO)
    hub.fail("PUT", "/lfs/", 500)
    agent = CommitOperationAdd("agent.zip", b"PK")
    with pytest.raises(UserError, match="the Hub answers 500"), hub_errors("commit"):
        client().create_commit(REPO, [agent], commit_message="Agent")


def test_no_message_holds_the_token(hub: Hub) -> None:
    hub.add(REPO, {})
    hub.fail("GET", "/api/", 403, said=f"{TOKEN} is bad")
    with pytest.raises(UserError) as error, hub_errors(TOKEN):
        client().model_info(REPO)
    assert TOKEN not in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize("wrong", ["\x7f", "é", "\r\n"])
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


def test_neither_a_password_nor_a_token_is_said(hub: Hub, monkeypatch: Patch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("//", "//me:secret@"))
    hub.stop()
    with pytest.raises(UserError) as error:
        log_in(client())
    assert "secret" not in str(error.value)
    monkeypatch.setenv("HF_TOKEN", "of-an-unusual-form")
    text = f"a {TOKEN}, of-an-unusual-form, hf_oauth_ab.c-d_e and hf_hub"
    assert without_token(text) == "a ***, ***, *** and hf_hub"
