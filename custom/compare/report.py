"""The files of a comparison, written all or none, and its page: one file that needs no network.

All text from files of runs is escaped; a policy in the page keeps the browser from fetching
anything.
"""

import base64
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment

from custom.compare.comparison import Data
from custom.compare.pictures import draw_all
from custom.compare.tables import READING, sections, write_csv
from custom.system.errors import UserError
from custom.system.files import atomic_folder

LARGEST_FILM = 6_000_000  # bytes; in the page it takes a third more
OUR_FILES = re.compile(
    r"scores\.csv|compare\.json|report\.html|(curves|profiles)-[\w-]*\.(png|svg)"
)


def write_report(data: Data, out: Path) -> None:
    """Write a comparison as a folder, which replaces an earlier one.

    :raises UserError: `out` holds files that no comparison wrote
    """
    names = [path.name for path in out.iterdir()] if out.exists() else []
    foreign = sorted(name for name in names if not OUR_FILES.fullmatch(name))
    if foreign:
        raise UserError(f"OUT {out}: holds other files ({foreign[0]}); name another folder")
    with atomic_folder(out.resolve()) as folder:
        pictures = draw_all(data, folder)
        write_csv(data, folder / "scores.csv")
        text = json.dumps(data, indent=1, allow_nan=False)
        (folder / "compare.json").write_text(text + "\n", encoding="utf-8")
        (folder / "report.html").write_text(page(data, pictures), encoding="utf-8")


def page(data: Data, pictures: dict[str, Path]) -> str:
    """The whole page.

    :param pictures: what `draw_all` drew
    """
    films = {game["env_id"]: _films(game) for game in data["games"]}
    parts = [
        {
            "title": title,
            "picture": _uri(pictures[title], "image/svg+xml") if title in pictures else "",
            "tables": tables,
            "films": films.get(title),
        }
        for title, tables in sections(data)
    ]
    title = f"Comparison: {', '.join(films)}"
    return rendered("report", title=title, sections=parts, notes=data["notes"], reading=READING)


def rendered(name: str, **values: Any) -> str:
    """The page of a template in this folder; its values are escaped."""
    template = (resources.files("custom.compare") / f"{name}.html").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    return page.render(**values)


def _films(game: Data) -> list[tuple[str, str]]:
    """For each column caption and data URI of one run's film, if there is one."""
    films = []
    for column in game["columns"]:
        for run in column["runs"]:
            file = Path(run["video"] or "")
            if file.is_file() and file.stat().st_size <= LARGEST_FILM:
                score = f"{run['mean'][-1]:.1f} in its last evaluation"
                caption = f"{column['label']}, seed {run['seed']}: {score}"
                films.append((caption, _uri(file, "video/mp4")))
                break
    return films


def _uri(file: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
