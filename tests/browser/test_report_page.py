"""The page of a comparison in headless Chromium: what people do with it, without a network.

Part of `make test-all` alone: it needs a Chromium (Debian's package, or ``CHROMIUM=/path/to/it``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from custom.compare.comparison import compare
from custom.compare.report import write_report
from custom.compare.sources import from_logs
from custom.recipe.games import find_game
from tests.compared import GAME, Write
from tests.conftest import run

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "chromium"


@dataclass
class Seen:
    """A page, and what it said and asked for."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def report(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the trained runs."""
    out = tmp_path_factory.mktemp("browser") / "report"
    recipes = "small small-fast"
    run("scripts.compare", "--game", GAME, "--recipes", recipes, "--logs", trained, "--out", out)
    return out / "report.html"


@pytest.fixture
def seen(report: Path) -> Iterator[Seen]:
    """The report of the trained runs, opened."""
    yield from opened(report)


def opened(report: Path) -> Iterator[Seen]:
    """A page; nothing may be said on the console, nor asked of a network."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = Seen(browser.new_page(viewport={"width": 1200, "height": 900}))
        found.page.on("console", lambda message: found.messages.append(message.text))
        found.page.on("pageerror", lambda error: found.messages.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(report.as_uri())
        yield found
        browser.close()
    assert found.messages == []
    asked = [url for url in found.requests if not url.startswith("data:")]
    assert asked == [report.as_uri()]


def test_it_says_what_is_compared_and_shows_its_pictures(seen: Seen) -> None:
    assert "RoadRunnerNoFrameskip-v4" in seen.page.title()
    assert "small" in seen.page.locator("table").first.inner_text()
    widths = seen.page.locator("img").evaluate_all("all => all.map(e => e.naturalWidth)")
    assert len(widths) == 1
    assert widths[0] > 500


def test_no_table_is_wider_than_the_page(seen: Seen) -> None:
    seen.page.set_viewport_size({"width": 1300, "height": 900})
    for box in seen.page.locator(".wide").all():
        assert box.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_a_table_is_sorted_by_the_numbers_of_a_column(seen: Seen) -> None:
    table = seen.page.locator("table").first
    cells = table.locator("tbody tr td:nth-child(2)")
    head = table.get_by_role("button", name="seeds", exact=True)
    head.click()
    assert cells.all_inner_texts() == ["2", "3"]
    head.click()
    assert cells.all_inner_texts() == ["3", "2"]
    assert table.locator("th[aria-sort='descending']").count() == 1


def test_a_video_of_each_recipe_plays(seen: Seen) -> None:
    videos = seen.page.locator("video")
    assert videos.count() == 2
    for video in videos.all():
        video.evaluate("v => v.play()")
        seen.page.wait_for_function("v => v.currentTime > 0", arg=video.element_handle())


def test_what_differs_is_shown(seen: Seen) -> None:
    table = seen.page.locator("h3:text('Settings that differ') + .wide")
    names = table.locator("tbody td:first-child").all_inner_texts()
    assert names == ["learning_rate", "target_update_interval"]


def test_what_files_hold_is_text_in_the_page(written: Write, tmp_path: Path) -> None:
    nasty, end = "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>"
    for seed in (1, 2):
        written(recipe=nasty, seed=seed, hardware={"gpu": end})
        written(recipe="dqn", seed=seed)
    data = compare(*from_logs(tmp_path / "logs", [find_game("Pong")], [nasty, "dqn"]))
    write_report(data, tmp_path / "report")
    for seen in opened(tmp_path / "report" / "report.html"):
        assert seen.page.locator("img").count() == 1  # the curves
        assert seen.page.locator("script").count() == 1  # sorting
        assert nasty in seen.page.locator("table").first.inner_text()
        assert seen.page.get_by_text(end).is_visible()
