"""custom.hub.client, and the client of the real Hub, against a Hub on this machine."""

import pytest
from huggingface_hub import CommitOperationAdd, constants

from custom.hub.client import client, hub_errors, log_in, without_token
from custom.system.errors import UserError
from tests.conftest import Patch
from tests.servers.hub import TOKEN, Hub

REPO = "tester/agent"


def test_without_a_token_the_hub_is_not_asked(hub: Hub, monkeypatch: Patch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"no token found.*hf auth login"):
        log_in(client())
    assert hub.requests == []


def test_a_token_that_may_only_read_does_not_log_in(hub: Hub) -> None:
    hub.role = "read"
    with pytest.raises(UserError, match=r"token of tester may only read: run .*the role write"):
        log_in(client())


def test_an_expired_token_is_said_to_be(hub: Hub) -> None:
    hub.token = "other"
    with pytest.raises(UserError, match=r"token is refused or has expired; run .*hf auth login"):
        log_in(client())
    assert len(hub.requests) == 1


def test_what_this_token_may_not_do_is_said(hub: Hub) -> None:
    said = r"may not do that .*rights to write to other/agent"
    with pytest.raises(UserError, match=said), hub_errors("other/agent"):
        client().create_repo("other/agent")


def test_a_busy_hub_is_told_with_its_status(hub: Hub) -> None:
    hub.fail("GET", "/api/whoami-v2", 503)
    said = f"{hub.url}: login: the Hub answers 503; run the same command again later"
    with pytest.raises(UserError, match=f"^{said}$"):
        log_in(client())


@pytest.mark.parametrize("address", ["", "hub.example"])
def test_a_hub_that_cannot_be_reached_is_named(hub: Hub, address: str, monkeypatch: Patch) -> None:
    hub.stop()
    monkeypatch.setattr(constants, "ENDPOINT", address or hub.url)
    with pytest.raises(UserError, match=f"{address or hub.url}: login: cannot be reached"):
        log_in(client())


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


def test_a_page_of_a_proxy_instead_of_an_answer_is_told(hub: Hub) -> None:
    hub.fail("GET", "/api/whoami-v2", 200, said=b"<html>Log in to the network</html>")
    with pytest.raises(UserError, match="the answer is not a Hub's; check HF_ENDPOINT"):
        log_in(client())


def test_offline_mode_is_told(hub: Hub, monkeypatch: Patch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"unset the `HF_HUB_OFFLINE`"):
        log_in(client())


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


def test_a_password_in_the_hubs_address_is_not_said(hub: Hub, monkeypatch: Patch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("//", "//me:secret@"))
    hub.stop()
    with pytest.raises(UserError) as error:
        log_in(client())
    assert "secret" not in str(error.value)


def test_what_looks_like_a_token_is_taken_out_of_a_text(monkeypatch: Patch) -> None:
    monkeypatch.setenv("HF_TOKEN", "of-an-unusual-form")
    text = f"a {TOKEN}, of-an-unusual-form, hf_oauth_ab.c-d_e and hf_hub"
    assert without_token(text) == "a ***, ***, *** and hf_hub"
