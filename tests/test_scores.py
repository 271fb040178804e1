"""Published scores: the table is whole, its figures are the published ones, 1.0 is the human."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from ale_py import roms

from custom.evaluation import scores
from custom.evaluation.scores import Reference, human_normalised, published, reference

COLUMNS = ["rom", "random", "human", "dqn_nature_200m", "zoo_dqn_40m", "zoo_qrdqn_40m"]

# rom, random, human, DQN (Nature), zoo DQN, zoo QR-DQN
KNOWN = [
    Reference("space_invaders", 148.0, 1668.7, 1976.0, 622.7, 1899.9),
    Reference("pong", -20.7, 14.6, 18.9, 20.6, 20.5),
    Reference("breakout", 1.7, 30.5, 401.2, 358.3, 393.6),
    Reference("qbert", 163.9, 13455.0, 10596.0, 9496.8, 14799.7),
    Reference("seaquest", 68.4, 42054.7, 5286.0, 2000.3, 2557.6),
    Reference("beam_rider", 363.9, 16926.5, 6846.0, 4295.9, 17122.9),
    Reference("enduro", 0.0, 860.5, 301.8, 830.9, 3231.2),
    Reference("ms_pacman", 307.3, 6951.6, 2311.0, 2682.9, 997.9),
]


def _rows() -> list[dict[str, str]]:
    path = Path(scores.__file__).with_name("reference_scores.csv")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == COLUMNS
    return rows


def test_every_row_is_a_rom_and_none_is_there_twice() -> None:
    names = [row["rom"] for row in _rows()]
    assert set(names) <= set(roms.get_all_rom_ids())
    assert len(names) == len(set(names))


def test_how_many_figures_each_column_has() -> None:
    filled = {column: sum(row[column] != "" for row in _rows()) for column in COLUMNS}
    assert filled == dict(zip(COLUMNS, [57, 57, 57, 49, 10, 10], strict=True))


def test_every_row_is_read_as_written() -> None:
    for row in _rows():
        known = reference(row["rom"])
        read = [known.random, known.human, known.dqn_nature, known.zoo_dqn, known.zoo_qrdqn]
        written = [float(row[column]) if row[column] else None for column in COLUMNS[1:]]
        assert read == written
        assert all(math.isfinite(score) for score in read if score is not None)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.rom)
def test_known_figures(known: Reference) -> None:
    assert reference(known.rom) == known


def test_human_is_above_random_everywhere() -> None:
    for row in _rows():
        assert human_normalised(row["rom"], float(row["random"])) == 0.0
        assert human_normalised(row["rom"], float(row["human"])) == 1.0
        assert float(row["human"]) > float(row["random"])


def test_normalisation_by_hand() -> None:
    # Space Invaders: human - random = 1668.7 - 148 = 1520.7
    assert human_normalised("space_invaders", 1976.0) == pytest.approx(1828 / 1520.7)
    assert human_normalised("space_invaders", 622.7) == pytest.approx(0.31216, abs=1e-5)
    assert human_normalised("space_invaders", 0.0) == pytest.approx(-148 / 1520.7)
    # Pong, where both scores may be negative: 14.6 + 20.7 = 35.3
    assert human_normalised("pong", -21.0) == pytest.approx(-0.3 / 35.3)


def test_game_without_figures() -> None:
    assert reference("carnival") == Reference("carnival", None, None, None, None, None)
    assert human_normalised("carnival", 1000.0) is None
    assert published("carnival") == []


def test_no_scale_where_human_equals_random(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = Reference("flat", 3.0, 3.0, None, None, None)
    half = Reference("half", 3.0, None, None, None, None)
    monkeypatch.setattr(scores, "_table", lambda: {"flat": flat, "half": half})
    assert human_normalised("flat", 3.0) is None
    assert human_normalised("half", 3.0) is None


def test_published_rows_of_a_game_with_all_figures() -> None:
    assert [(label, score) for label, score, _ in published("space_invaders")] == [
        ("random", 148.0),
        ("human", 1668.7),
        ("DQN (Nature 2015, 200M frames)", 1976.0),
        ("zoo DQN (40M frames)", 622.7),
    ]
    assert all(source for _, _, source in published("space_invaders"))


def test_published_rows_leave_out_what_is_unknown_but_keep_zero() -> None:
    assert [label for label, _, _ in published("skiing")] == ["random", "human"]
    labels = ["random", "human", "DQN (Nature 2015, 200M frames)"]
    assert [label for label, _, _ in published("montezuma_revenge")] == labels
    assert published("montezuma_revenge")[0][1] == 0.0
