"""Agents of the Hub are ranked as its leaderboards rank them, one's own among them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from custom.hub.client import client
from custom.hub.leaderboard import Entry, entry_of, format_table, hub_entries, local_entries
from custom.recipe.games import find_game
from tests.compared import Write
from tests.conftest import Patch
from tests.servers.hub import Hub

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
        (7.5, (7.5, 0.0)),
        ("1e3 ± 5", (1000.0, 5.0)),
        ("1e300 +/- 0", None),
        ("10 +/- -3", None),
        ("best agent ever", None),
    ],
)
def test_scores_are_read_as_leaderboards_read_them(value: Any, scores: tuple | None) -> None:
    metrics = [{"type": "mean_reward", "value": value}]
    index = [{"name": "DQN", "results": [{"metrics": metrics}]}]
    model = SimpleNamespace(id="a/b", model_index=index, card_data=None)
    entry = entry_of(model)
    assert (None if entry is None else (entry.mean, entry.std)) == scores


@pytest.mark.parametrize("index", [None, [{}], "text"])
def test_an_index_of_another_form_is_no_score(index: Any) -> None:
    assert entry_of(SimpleNamespace(id="a/b", model_index=index, card_data=None)) is None


def test_places_of_the_user_are_shown_however_far_down_and_once() -> None:
    entries = [Entry(f"u/{n}", "DQN", float(n), 0.0) for n in range(50)]
    local = [Entry("logs/dqn/dqn/x_1", "DQN (dqn)", 3.0, 0.5, "here")]
    lines = format_table(entries, 2, local, top=3).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["1", "2", "3", "48"]
    assert "logs/dqn/dqn/x_1 [here]" in lines[-2]
    assert lines[-1].endswith("; 2 more state no score")
    entries = [Entry("me/mine", "DQN", 3.004, 0.5, "yours")]
    local = [Entry("logs/dqn/dqn/x_1", "DQN (dqn)", 3.0, 0.5, "here")]
    assert "[here]" not in format_table(entries, 0, local, top=3)


def test_a_name_cannot_move_the_cursor() -> None:
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
