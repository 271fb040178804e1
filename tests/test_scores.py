"""Published scores: the table is whole, its figures are the published ones, 1.0 is the human."""

import csv
from pathlib import Path

import pytest
from ale_py import roms

from custom.evaluation import scores
from custom.evaluation.scores import PUBLISHED, human_normalised, published, reference
from tests.conftest import Patch

# rom: random, human, DQN (Nature), zoo DQN
KNOWN = {
    "space_invaders": [148.0, 1668.7, 1976.0, 622.7],
    "pong": [-20.7, 14.6, 18.9, 20.6],
    "breakout": [1.7, 30.5, 401.2, 358.3],
    "qbert": [163.9, 13455.0, 10596.0, 9496.8],
    "enduro": [0.0, 860.5, 301.8, 830.9],
}


def test_each_row_is_a_rom_and_is_read_as_written() -> None:
    with Path(scores.__file__).with_name("reference_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["rom"] for row in rows]
    assert set(names) <= set(roms.get_all_rom_ids())
    assert len(names) == len(set(names)) == 57
    filled = {column: sum(row[column] != "" for row in rows) for column in PUBLISHED}
    assert list(filled.values()) == [57, 57, 49, 10]
    for row in rows:
        assert reference(row["rom"]) == {
            name: float(text) for name, text in row.items() if name != "rom" and text
        }
        assert human_normalised(row["rom"], float(row["random"])) == 0.0
        assert human_normalised(row["rom"], float(row["human"])) == 1.0
        assert float(row["human"]) > float(row["random"])


@pytest.mark.parametrize(("rom", "figures"), KNOWN.items())
def test_known_figures(rom: str, figures: list[float]) -> None:
    assert list(reference(rom).values()) == figures


def test_normalisation_by_hand() -> None:
    # Space Invaders: human - random = 1668.7 - 148 = 1520.7
    assert human_normalised("space_invaders", 1976.0) == pytest.approx(1828 / 1520.7)
    assert human_normalised("space_invaders", 622.7) == pytest.approx(0.31216, abs=1e-5)
    assert human_normalised("space_invaders", 0.0) == pytest.approx(-148 / 1520.7)
    # Pong, where both scores may be negative: 14.6 + 20.7 = 35.3
    assert human_normalised("pong", -21.0) == pytest.approx(-0.3 / 35.3)


def test_no_scale_without_two_ends(monkeypatch: Patch) -> None:
    assert human_normalised("carnival", 1000.0) is None
    ends = {"flat": {"random": 3.0, "human": 3.0}, "half": {"random": 3.0}}
    monkeypatch.setattr(scores, "_table", lambda: ends)
    assert human_normalised("flat", 3.0) is None
    assert human_normalised("half", 3.0) is None


def test_published_rows_leave_out_what_is_unknown_but_keep_zero() -> None:
    nature, zoo = "DQN (Nature 2015, 200M frames)", "zoo DQN (40M frames)"
    all_of_them = ["random play", "human", nature, zoo]
    assert [level.label for level in published("space_invaders")] == all_of_them
    assert all(level.source for level in published("space_invaders"))
    assert [level.label for level in published("montezuma_revenge")] == all_of_them[:3]
    assert published("montezuma_revenge")[0].score == 0.0
    assert [level.label for level in published("skiing")] == all_of_them[:2]
    assert published("carnival") == []
