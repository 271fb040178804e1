"""docs/results.md: every table and picture follows from the committed figures."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.results import IMAGES, PAGE, draw


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
