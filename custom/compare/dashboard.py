"""A page with all runs of this machine: states, curves, films and comparisons."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from custom.compare.report import rendered
from custom.evaluation.plot import plot_run
from custom.runs.folder import EVALUATIONS_FILE, GAMES_FILE, Run
from custom.runs.listing import HEAD, rows_of
from custom.system.errors import UserError

PAGE = "/dashboard.html"
SHOWN = (".html", ".png", ".svg", ".mp4")  # of the files below LOGS


def serve(logs: Path, host: str, port: int) -> None:
    """Serve the folder of all runs until stopped; the page is made anew each time.

    :raises OSError: the port cannot be used
    """
    with ThreadingHTTPServer((host, port), partial(Pages, directory=str(logs))) as server:
        server.serve_forever()


class Pages(SimpleHTTPRequestHandler):
    """The files in a folder of runs; its first page is `page`."""

    def do_GET(self) -> None:
        """Answer a request."""
        host = self.headers.get("Host", "").partition(":")[0]
        if host not in ("127.0.0.1", "localhost"):  # another page's name for this machine
            return self.send_error(403)
        if self.path not in ("/", PAGE):
            is_shown = Path(urlsplit(self.path).path).suffix in SHOWN
            return super().do_GET() if is_shown else self.send_error(404)
        content = page(Path(self.directory)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def page(logs: Path) -> str:
    """The page, with addresses relative to LOGS; curves that are out of date are drawn anew."""
    found, problems = rows_of(logs)
    runs = [
        {
            **dict(zip(HEAD, row, strict=True)),
            "curve": _address(logs, _curve(run)),
            "film": _address(logs, run.path / "replay.mp4"),
        }
        for run, row in reversed(found)
    ]
    reports = sorted(logs.glob("compare/*/report.html"))
    addresses = [(file.parent.name, _address(logs, file)) for file in reports]
    return rendered("dashboard", logs=logs, runs=runs, problems=problems, reports=addresses)


def _curve(run: Run) -> Path:
    """The picture of a run's curve, drawn anew where there is something new."""
    file = run.path / "learning_curve.png"
    sources = [run.path / name for name in (GAMES_FILE, EVALUATIONS_FILE)]
    newest = max((path.stat().st_mtime for path in sources if path.is_file()), default=0.0)
    try:
        return file if file.is_file() and file.stat().st_mtime > newest else plot_run(run)
    except (UserError, OSError):  # no game was finished yet, or it cannot be written
        return file


def _address(logs: Path, file: Path) -> str:
    """Of a file, which changes with its content; empty: there is none."""
    if not file.is_file():
        return ""
    path = quote(str(file.absolute().relative_to(logs.absolute())))
    return f"{path}?{file.stat().st_mtime_ns}"
