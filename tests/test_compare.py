"""`make compare`: what it writes, what it says, and what it refuses."""

import csv
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from custom.compare.comparison import compare
from custom.compare.pictures import score_range
from custom.compare.report import page, write_report
from custom.compare.sources import from_logs
from custom.evaluation.plot import draw_levels
from custom.recipe.games import find_game
from custom.system.errors import UserError
from tests.compared import GAME, Write
from tests.conftest import refused, run

ENV = "RoadRunnerNoFrameskip-v4"


def compared(logs: Path, *recipes: str, games: tuple[str, ...] = ("Pong",)) -> dict[str, Any]:
    return compare(*from_logs(logs, [find_game(game) for game in games], list(recipes)))


@pytest.fixture(scope="session")
def report(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compared") / "report"
    recipes = "small small-fast"
    flags = ("--game", GAME, "--recipes", recipes, "--logs", trained, "--out", out)
    output = run("scripts.compare", *flags)
    assert f"Report: {out / 'report.html'}" in output
    assert "small and small-fast" in output
    assert " min" in (out / "report.html").read_text()
    return out


def test_all_seeds_and_evaluations_are_compared(report: Path, trained: Path) -> None:
    data = json.loads((report / "compare.json").read_text())
    [game] = data["games"]
    seeds = {c["label"]: c["seeds"] for c in game["columns"]}
    assert seeds == {"small": [1, 2, 3], "small-fast": [1, 2]}
    assert all(c["curve"]["frames"] == [800.0, 1600.0] for c in game["columns"])
    assert all(c["seconds"] > 0 for c in game["columns"])
    [pair] = game["pairs"]
    assert pair["verdict"].startswith("with 3 and 2 seeds, two equal recipes look this different")
    different = [name for name, values in game["settings"].items() if values[0] != values[1]]
    assert different == ["learning_rate", "target_update_interval"]
    # Whoever edits a file while this trains has runs of different revisions.
    assert [note for note in data["notes"] if "git_revision" not in note] == []
    with (report / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row in rows:
        with np.load(Path(row["name"]) / "evaluations.npz") as found:
            at = list(found["timesteps"]).index(int(row["steps"]))
            assert float(row["mean"]) == found["results"][at].mean()
    assert [row["frames"] for row in rows] == ["800", "1600"] * 5


def test_the_page_is_whole_in_itself_and_the_pictures_are_files_too(report: Path) -> None:
    text = (report / "report.html").read_text()
    assert "epsilon 0.05, 1-30 no-ops, sticky actions 0" in text
    assert '<td class="short">0.0016M</td>' in text
    assert text.count("data:video/mp4;base64,") == 2
    assert text.count("data:image/svg+xml;base64,") == 1
    assert re.findall(r"(?:src|href)=\"(?!data:)", text) == []
    assert re.findall(r"https?://", text) == []
    with Image.open(report / f"curves-{ENV}.png") as picture:
        assert picture.format == "PNG"
    assert ET.parse(report / f"curves-{ENV}.svg").getroot().tag.endswith("svg")


def test_other_budgets_stand_beside_and_are_not_compared(written: Write, tmp_path: Path) -> None:
    for seed in (1, 2):
        written(seed=seed)
        written(seed=seed, n_timesteps=4000)
    data = compared(tmp_path / "logs", "dqn")
    [game] = data["games"]
    labels = [c["label"] for c in game["columns"]]
    assert labels == ["dqn (budget 0.008M frames)", "dqn (budget 0.016M frames)"]
    assert game["pairs"] == []
    assert "are not compared: budget 0.008M frames and 0.016M frames" in page(data, {})


def test_over_games_scores_are_human_normalised(written: Write, tmp_path: Path) -> None:
    ends = {"Pong": (-20.7, 14.6), "Breakout": (1.7, 30.5)}  # random, human
    for game, (low, high) in ends.items():
        for seed in (1, 2):
            written(game=game, seed=seed, scores=[[low, low], [high, high]])
            written(recipe="double_dqn", game=game, seed=seed, scores=[[low, low], [low, low]])
    data = compared(tmp_path / "logs", "dqn", "double_dqn", games=tuple(ends))
    best, worst = data["over_games"]["columns"]
    assert (best["mean"], worst["mean"]) == (pytest.approx(1), pytest.approx(0))
    assert best["profile"]["share"][0] == 1.0  # above 0 everywhere
    assert worst["profile"]["share"][0] == 0.0
    assert "<h2>All games</h2>" in page(data, {})
    write_report(data, tmp_path / "out")
    assert (tmp_path / "out" / "profiles-All-games.svg").is_file()


def test_variants_are_not_mixed_over_games(written: Write, tmp_path: Path) -> None:
    for game, rates in (("Pong", (0.1, 0.2)), ("Breakout", (0.2, 0.1))):
        for rate in rates:
            many = {"loss": "mse", "gamma": 0.9, "double_q": True, "tau": 0.5, "batch_size": 64}
            more = many if rate == 0.1 else {}
            written(game=game, values={"learning_rate": rate, **more})
    data = compared(tmp_path / "logs", "dqn", games=("Pong", "Breakout"))
    assert data["over_games"] is None
    assert any("dqn (variant 1): left out, which variants" in note for note in data["notes"])


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        ({"n_timesteps": 3000}, "its games differ in budget"),
        ({"engine": {"precision": "bf16"}}, "left out, its games differ in precision"),
    ],
)
def test_other_values_of_a_game_are_said(
    written: Write, tmp_path: Path, facts: Any, note: str
) -> None:
    written(**facts)
    written(game="Breakout")
    data = compared(tmp_path / "logs", "dqn", games=("Pong", "Breakout"))
    assert data["notes"] == [f"over games, dqn: {note}"]
    assert (data["over_games"] is None) == note.startswith("left out")


def test_a_recipe_without_a_game_is_not_in_the_aggregate(written: Write, tmp_path: Path) -> None:
    for game in ("Pong", "Breakout"):
        written(game=game, seed=1)
        written(game=game, seed=2)
    written(recipe="double_dqn")
    written(game="Pong", seed=3)
    data = compared(tmp_path / "logs", "dqn", "double_dqn", games=("Pong", "Breakout"))
    assert [column["label"] for column in data["over_games"]["columns"]] == ["dqn"]
    assert data["notes"] == [
        "BreakoutNoFrameskip-v4, double_dqn: no run",
        "over games, dqn: the first 2 seeds of each game count",
        "over games, double_dqn: left out, it has no such column in BreakoutNoFrameskip-v4",
    ]


def test_a_film_that_is_too_large_is_not_in_the_page(written: Write, tmp_path: Path) -> None:
    (written() / "replay.mp4").write_bytes(bytes(6_000_001))
    text = page(compared(tmp_path / "logs", "dqn"), {})
    assert "<video" not in text
    assert "No pair to compare." in text
    assert "No film among these runs; make record films one." in text


def test_an_earlier_comparison_alone_is_replaced_whole(written: Write, tmp_path: Path) -> None:
    written()
    out = tmp_path / "out"
    out.mkdir()
    (out / "profiles-All-games.png").write_text("of two recipes")
    write_report(compared(tmp_path / "logs", "dqn"), out)
    assert not (out / "profiles-All-games.png").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "out"]
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds other files \(thesis.tex\)"):
        write_report({}, out)
    assert (out / "thesis.tex").is_file()


def test_levels_outside_the_scores_are_named_at_the_edge() -> None:
    curve = {"iqm": [100.0, 200.0], "low": [90.0, 180.0], "high": [110.0, 210.0]}
    low, high = score_range([curve])
    assert (low, high) == (84.0, 216.0)  # 5 % of 90 to 210 at each end
    axes = Figure().add_subplot()
    draw_levels(axes, [(1669.0, "human"), (148.0, "random play"), (-3.0, "none")], low, high)
    assert axes.get_ylim() == (84.0, 216.0)
    assert [text.get_text() for text in axes.texts] == ["↑ human: 1669", "↓ none: -3"]
    lines = [(line.get_label(), line.get_ydata()[0]) for line in axes.lines]
    assert lines == [("random play: 148", 148.0)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recipes", "dqn rainbow"], "no run of PongNoFrameskip-v4 with rainbow"),
        (["--recipes", "/no/dqn.yml"], "'/no/dqn.yml': there is no such file"),
        (["--recipes", " "], "RECIPES is empty"),
        (["--games", "Pnog"], "did you mean Pong"),
        (["--out", __file__], "test_compare.py: Not a directory"),
    ],
)
def test_bad_input_is_a_line(
    written: Write, tmp_path: Path, flags: list[str], message: str
) -> None:
    written()
    out = tmp_path / "out"
    usual = ["--game", "Pong", "--logs", tmp_path / "logs", "--out", out]
    assert message in refused("scripts.compare", *usual, *flags)
    assert not out.exists()
