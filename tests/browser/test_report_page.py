"""The page of a comparison in headless Chromium: what people do with it, without a network.

Part of `make test-all` alone: it needs a Chromium (Debian's package, or ``CHROMIUM=/path/to/it``).
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, sync_playwright

from custom.compare.comparison import compare
from custom.compare.dashboard import Pages
from custom.compare.report import write_report
from custom.compare.sources import from_logs
from custom.recipe.games import find_game
from tests.compared import GAME, Write
from tests.conftest import run

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "chromium"


@contextmanager
def opened(report: Path) -> Iterator[Page]:
    """A page; nothing may be said on the console, nor asked of a network."""
    messages: list[str] = []
    requests: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        yield page
        browser.close()
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]


@pytest.fixture(scope="module")
def report(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("browser") / "report"
    recipes = "small small-fast"
    run("scripts.compare", "--game", GAME, "--recipes", recipes, "--logs", trained, "--out", out)
    return out / "report.html"


@pytest.fixture
def page(report: Path) -> Iterator[Page]:
    with opened(report) as shown:
        yield shown


def test_it_says_what_is_compared_and_shows_curves_and_what_differs(page: Page) -> None:
    assert "RoadRunnerNoFrameskip-v4" in page.title()
    assert "small" in page.locator("table").first.inner_text()
    [width] = page.locator("img").evaluate_all("all => all.map(e => e.naturalWidth)")
    assert width > 500
    table = page.locator("h3:text('Settings that differ') + .wide")
    names = table.locator("tbody td:first-child").all_inner_texts()
    assert names == ["learning_rate", "target_update_interval"]
    for box in page.locator(".wide").all():  # no table is wider than the page
        assert box.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_a_table_is_sorted_by_the_numbers_of_a_column(page: Page) -> None:
    table = page.locator("table").first
    cells = table.locator("tbody tr td:nth-child(2)")
    head = table.get_by_role("button", name="seeds", exact=True)
    head.click()
    assert cells.all_inner_texts() == ["2", "3"]
    head.click()
    assert cells.all_inner_texts() == ["3", "2"]
    assert table.locator("th[aria-sort='descending']").count() == 1


def test_a_video_of_each_recipe_plays(page: Page) -> None:
    videos = page.locator("video")
    assert videos.count() == 2
    for video in videos.all():
        video.evaluate("v => v.play()")
        page.wait_for_function("v => v.currentTime > 0", arg=video.element_handle())


def test_what_files_hold_is_text_in_the_page(written: Write, tmp_path: Path) -> None:
    nasty, end = "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>"
    for seed in (1, 2):
        file = written(recipe="nasty", seed=seed, hardware={"gpu": end}) / "run.json"
        file.write_text(file.read_text().replace('"nasty"', json.dumps(nasty)))
        written(recipe="dqn", seed=seed)
    data = compare(*from_logs(tmp_path / "logs", [find_game("Pong")], ["nasty", "dqn"]))
    write_report(data, tmp_path / "report")
    with opened(tmp_path / "report" / "report.html") as page:
        assert page.locator("img").count() == 1  # the curves
        assert page.locator("script").count() == 1  # sorting
        assert nasty in page.locator("table").first.inner_text()
        assert page.get_by_text(end).is_visible()


def test_the_dashboard_shows_runs_curves_and_films_that_load(trained: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(trained))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page, failed = browser.new_page(), list[str]()
            page.on("response", lambda r: failed.append(r.url) if r.status >= 400 else None)
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            page.wait_for_load_state("networkidle")
            assert page.locator("article").count() == 5
            curves = page.locator("img")
            assert curves.count() == 5
            sizes = curves.evaluate_all("all => all.map(one => one.naturalWidth)")
            assert min(sizes) > 500
            assert page.locator("video").count() == 2
            assert failed == []
            for path in ("compare/", "tune/secret.pkl"):
                assert page.request.get(f"{page.url}{path}").status == 404
            other = {"Host": "evil.example"}
            assert page.request.get(page.url, headers=other).status == 403
            browser.close()
        server.shutdown()
