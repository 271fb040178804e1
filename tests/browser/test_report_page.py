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
from playwright.sync_api import Page, expect, sync_playwright

from custom.compare.comparison import compare
from custom.compare.from_logs import from_logs
from custom.compare.page import page
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


def test_it_says_what_is_compared(seen: Seen, tmp_path: Path) -> None:
    assert "RoadRunnerNoFrameskip-v4" in seen.page.title()
    assert seen.page.locator(".legendtext").filter(has_text="small").count() == 2
    assert seen.page.locator(".scatterlayer .js-fill").count() == 2  # bands
    assert "small" in seen.page.locator("table").first.inner_text()
    picture = tmp_path / "report.png"
    seen.page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 20_000


def test_a_curve_is_toggled_from_the_legend(seen: Seen) -> None:
    lines = seen.page.locator(".scatterlayer .trace")
    before = lines.count()
    toggle = seen.page.locator(".legend .traces", has_text="small-fast").locator(".legendtoggle")
    toggle.click()
    expect(lines).to_have_count(before - 2)  # the line and its band
    toggle.click()
    expect(lines).to_have_count(before)


def test_hovering_shows_the_scores_of_all_curves(seen: Seen) -> None:
    chart = seen.page.locator(".js-plotly-plot .nsewdrag")
    box = chart.bounding_box()
    assert box is not None
    chart.hover(position={"x": box["width"] * 0.9, "y": box["height"] / 2})
    tip = seen.page.locator(".hoverlayer")
    tip.get_by_text("small-fast : ").wait_for()
    assert "0.0016" in (tip.text_content() or "")


def test_far_levels_are_named_at_the_edge_and_leave_the_curves_their_room(seen: Seen) -> None:
    notes = " ".join(seen.page.locator(".annotation").all_text_contents())
    assert "↑" in notes
    assert "human" in notes
    ranges = seen.page.evaluate("document.querySelector('.js-plotly-plot').layout.yaxis.range")
    assert ranges[1] < 7845  # the human's score; these runs play at random


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


def test_a_video_of_each_recipe_plays(seen: Seen, tmp_path: Path) -> None:
    videos = seen.page.locator("video")
    assert videos.count() == 2
    for video in videos.all():
        video.evaluate("v => v.play()")
        seen.page.wait_for_function("v => v.currentTime > 0", arg=video.element_handle())
    videos.first.screenshot(path=tmp_path / "playing.png")


def test_what_differs_is_shown_and_the_rest_is_folded(seen: Seen) -> None:
    table = seen.page.locator("h3:text('Settings that differ') + .wide")
    names = table.locator("tbody td:first-child").all_inner_texts()
    assert names == ["learning_rate", "target_update_interval"]
    same = seen.page.locator("details tbody tr").first
    assert same.is_hidden()
    seen.page.locator("summary").click()
    assert same.is_visible()


def test_what_files_hold_is_text_in_the_page(written: Write, tmp_path: Path) -> None:
    nasty, end = "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>"
    for seed in (1, 2):
        written(recipe=nasty, seed=seed, hardware={"gpu": end})
        written(recipe="dqn", seed=seed)
    data = compare(*from_logs(tmp_path / "logs", [find_game("Pong")], [nasty, "dqn"]))
    file = tmp_path / "report.html"
    file.write_text(page(data))
    for seen in opened(file):
        assert seen.page.locator("img").count() == 0
        assert seen.page.locator("script").count() == 3  # plotly, the chart, sorting
        assert nasty in seen.page.locator("table").first.inner_text()
        assert seen.page.locator(".legendtext", has_text=nasty).is_visible()
        assert seen.page.get_by_text(end).is_visible()
