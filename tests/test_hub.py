"""custom.hub.client against a Hub on this machine, and its agents ranked as leaderboards do."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from huggingface_hub import CommitOperationAdd, constants

from custom.hub.client import client, hub_errors, log_in, without_token
from custom.hub.leaderboard import Entry, entry_of, format_table, hub_entries, local_entries
from custom.recipe.games import find_game
from custom.system.errors import UserError
from tests.compared import Write
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


def test_what_is_missing_or_not_allowed_or_keeps_failing_is_told(hub: Hub) -> None:
    with pytest.raises(UserError, match="tester/none: is not there"), hub_errors("tester/none"):
        client().model_info("tester/none")
    hub.add(REPO, {})
    with pytest.raises(UserError, match=r"none\.zip: is not there"), hub_errors("none.zip"):
        client().hf_hub_download(REPO, "none.zip")
    said = r"may not do that .*rights to write to other/agent"
    with pytest.raises(UserError, match=said), hub_errors("other/agent"):
        client().create_repo("other/agent")
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


ENV = "PongNoFrameskip-v4"
GAME = find_game("Pong")


def card(value: str, env_id: str = ENV) -> bytes:
    place = {"type": "reinforcement-learning"}, {"type": env_id, "name": env_id}
    result = {"task": place[0], "dataset": place[1]}
    result |= {"metrics": [{"type": "mean_reward", "value": value}]}
    data = {"tags": [env_id], "model-index": [{"name": "DQN", "results": [result]}]}
    return f"---\n{yaml.safe_dump(data)}\n---\n# DQN".encode()


@pytest.fixture
def agents(hub: Hub) -> Hub:
    hub.add("a/steady", {"README.md": card("19.00 +/- 1.00")})
    hub.add("b/wild", {"README.md": card("20.00 +/- 9.00")})
    hub.add("tester/mine", {"README.md": card("-3.50 +/- 2.25")})
    hub.add("c/other", {"README.md": card("900.00 +/- 1.00", "BreakoutNoFrameskip-v4")})
    hub.add("d/silent", {"README.md": f"---\ntags: [{ENV}]\n---\n".encode()})
    return hub


def test_the_order_is_mean_minus_std(agents: Hub, monkeypatch: Patch) -> None:
    entries, unscored = hub_entries(client(), GAME)
    assert sorted(entries, key=lambda e: -e.rank_by) == [
        Entry("a/steady", "DQN", 19.0, 1.0),
        Entry("b/wild", "DQN", 20.0, 9.0),
        Entry("tester/mine", "DQN", -3.5, 2.25, "yours"),
    ]
    assert unscored == 1
    monkeypatch.delenv("HF_TOKEN")
    assert [e.owner for e in hub_entries(client(), GAME)[0]] == ["", "", ""]


@pytest.mark.parametrize(
    ("value", "scores"),
    [
        ("563.00 +/- 190.46", (563.0, 190.46)),
        ("1e3 ± 5", (1000.0, 5.0)),
        ("1e300 +/- 0", None),
        ("10 +/- -3", None),
        ("best agent ever", None),
        ("", None),
    ],
)
def test_scores_are_read_as_leaderboards_read_them(value: Any, scores: tuple | None) -> None:
    metrics = [{"type": "mean_reward", "value": value}]
    index = [{"name": "DQN", "results": [{"metrics": metrics}]}] if value else "text"
    model = SimpleNamespace(id="a/b", model_index=index, card_data=None)
    entry = entry_of(model)
    assert (None if entry is None else (entry.mean, entry.std)) == scores


def test_places_of_the_user_are_shown_once_and_no_name_moves_the_cursor() -> None:
    entries = [Entry(f"u/{n}", "DQN", float(n), 0.0) for n in range(50)]
    local = [Entry("logs/dqn/dqn/x_1", "DQN (dqn)", 3.0, 0.5, "here")]
    lines = format_table(entries, 2, local, top=3).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["1", "2", "3", "48"]
    assert "logs/dqn/dqn/x_1 [here]" in lines[-2]
    assert lines[-1].endswith("; 2 more state no score")
    entries = [Entry("me/mine", "DQN", 3.004, 0.5, "yours")]
    local = [Entry("logs/dqn/dqn/x_1", "DQN (dqn)", 3.0, 0.5, "here")]
    assert "[here]" not in format_table(entries, 0, local, top=3)
    index = [{"name": "\x1b[2JDQN\n", "results": [{"metrics": [{"value": "1 +/- 1"}]}]}]
    entry = entry_of(SimpleNamespace(id="a/b", model_index=index, card_data=None))
    assert entry is not None
    assert entry.algorithm == "[2JDQN"


def test_evaluated_runs_of_this_machine_stand_among_them(written: Write, tmp_path: Path) -> None:
    for folder in (written(), written(pulled={"repo": "a/b"})):
        scores = {"mean": 5.0, "std": 1.0, "protocol": {"epsilon": 0.05}}
        (folder / "evaluation.json").write_text(json.dumps(scores))
    [entry] = local_entries(GAME, tmp_path / "logs")
    assert (entry.owner, entry.rank_by, entry.algorithm) == ("here", 4.0, "DQN (dqn)")
