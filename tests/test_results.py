"""docs/results.md follows from the committed figures, and the benchmark runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.results import IMAGES, PAGE, draw
from tests.conftest import run_process


def test_the_page_is_what_the_committed_figures_give(tmp_path: Path) -> None:
    page = Path(shutil.copyfile(PAGE, tmp_path / "results.md"))
    draw(page, tmp_path)
    assert page.read_text() == PAGE.read_text()
    drawn = sorted(tmp_path.glob("*.png"))
    assert [file.name for file in drawn] == sorted(p.name for p in IMAGES.glob("results-*.png"))
    for file in drawn:
        ours, theirs = (
            np.asarray(Image.open(f).convert("L"), dtype=float) for f in (file, IMAGES / file.name)
        )
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).mean() < 2  # another release of matplotlib rounds elsewhere


@pytest.mark.long
def test_the_zoo_and_this_project_are_timed_in_turn(tmp_path: Path) -> None:
    out = tmp_path / "raw" / "figures.json"
    flags = ("--pairs", 1, "--steps", 120, "--buffer-size", 200, "--batch-size", 4, "--out", out)
    shown = run_process("benchmarks.throughput", *flags)
    facts = json.loads(out.read_text())
    zoo, ours = facts["runs"]
    assert (zoo["side"], ours["side"]) == ("zoo", "ours")
    assert f"ratio   {ours['steps_per_second'] / zoo['steps_per_second']:.2f}" in shown
    assert facts["hardware"]["cores"]
    for one in (zoo, ours):
        assert 80 < one["steps"] < 90  # what came after the warm-up of 30
