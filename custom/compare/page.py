"""``report.html``: the comparison as one file that needs no network.

Its parts lie beside this module. All that comes from files of runs is escaped; a policy in the page
keeps the browser from fetching anything at all.
"""

from __future__ import annotations

import base64
import json
from html import escape
from importlib import resources
from pathlib import Path

from custom.compare.comparison import Data
from custom.compare.pictures import COLOURS
from custom.compare.tables import READING, Table, over_games_table, pairs_of, tables_of

LARGEST_VIDEO = 6_000_000  # bytes; in the page it takes a third more


def page(data: Data, folder: Path) -> str:
    """The whole page.

    :param folder: of the comparison, where paths of films begin
    """
    parts = [f"<section>{_game(game, folder)}</section>" for game in data["games"]]
    if data["over_games"]:
        parts.append(f"<section>{_over_games(data['over_games'])}</section>")
    if data["notes"]:
        notes = "".join(f"<li>{escape(note)}</li>" for note in data["notes"])
        parts.append(f"<section><h2>Kept apart or left out</h2><ul>{notes}</ul></section>")
    games = ", ".join(game["env_id"] for game in data["games"])
    filled = {
        "TITLE": escape(f"Comparison: {games}"),
        "STYLE": _part("report.css"),
        "BODY": "\n".join([*parts, f"<footer>{escape(READING)}</footer>"]),
        "DATA": _json({"charts": _charts(data), "colours": COLOURS}),
        "SCRIPT": _part("report.js"),
    }
    pieces = _part("report.html").split("@@")  # every second one is a name
    return "".join(filled[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def _game(game: Data, folder: Path) -> str:
    parts = [f"<h2>{escape(game['env_id'])}</h2>", _chart(game["env_id"])]
    parts += [_table(table) for table in tables_of(game)]
    parts += [_videos(game, folder), _hyperparameters(game)]
    return "\n".join(parts)


def _over_games(found: Data) -> str:
    tables = _table(over_games_table(found)) + _table(pairs_of(found["pairs"], [], "{:.3f}"))
    return "<h2>All games</h2>" + _chart("profiles") + tables


def _chart(name: str) -> str:
    return f'<figure class="chart" data-chart="{escape(name)}"></figure>'


def _charts(data: Data) -> Data:
    """What the script draws: lines with bands, and references, by the name of a chart."""
    charts: Data = {}
    for game in data["games"]:
        lines = [
            {**_band(column["curve"], "iqm"), "label": column["label"], "x": _million(column)}
            for column in game["columns"]
        ]
        shown = [x for x in game["levels"] if x["name"] != "zoo"]
        title = "IQM over seeds with its 95 % band; raw score of a full game"
        x = {"x": "frames (million)", "unit": "M frames"}
        charts[game["env_id"]] = {"title": title, **x, "lines": lines, "references": shown}
    if data["over_games"]:
        found = data["over_games"]
        lines = [
            {**_band(c["profile"], "share"), "label": c["label"], "x": found["thresholds"]}
            for c in found["columns"]
        ]
        title = "performance profiles: share of runs above a human-normalised score"
        x = {"x": "human-normalised score", "unit": ""}
        charts["profiles"] = {
            "title": title,
            "range": [0, 1.02],
            **x,
            "lines": lines,
            "references": [],
        }
    return charts


def _band(curve: Data, name: str) -> Data:
    return {"y": curve[name], "low": curve["low"], "high": curve["high"]}


def _million(column: Data) -> list[float]:
    return [frame / 1e6 for frame in column["curve"]["frames"]]


def _table(table: Table, kind: str = "sortable") -> str:
    """A table that the script sorts; its note stands below."""
    if not table.rows:
        return f"<h3>{escape(table.title)}</h3><p>{escape(table.note or 'One column.')}</p>"
    head = "".join(
        f'<th scope="col"><button type="button">{escape(cell)}</button></th>' for cell in table.head
    )
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return (
        f"<h3>{escape(table.title)}</h3><div class='wide'><table class='{kind}'>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"<p class='note'>{escape(table.note)}</p>"
    )


def _videos(game: Data, folder: Path) -> str:
    """One game of one run of each column, where there is a film and it is not too large."""
    parts = []
    for column in game["columns"]:
        for run in column["runs"]:
            content = _video(run["video"] and folder / run["video"])
            if content:
                caption = f"{column['label']}, seed {run['seed']}: {run['mean'][-1]:.1f}"
                parts.append(
                    f'<figure><video controls muted playsinline loop src="{content}"></video>'
                    f"<figcaption>{escape(caption)} in its last evaluation</figcaption></figure>"
                )
                break
    return f"<h3>One game of each</h3><div class='videos'>{''.join(parts)}</div>" if parts else ""


def _video(file: Path | None) -> str:
    """A film as data URI; empty where there is none that fits."""
    try:
        if file is None or file.stat().st_size > LARGEST_VIDEO:
            return ""
        return "data:video/mp4;base64," + base64.b64encode(file.read_bytes()).decode()
    except OSError:  # gone meanwhile
        return ""


def _hyperparameters(game: Data) -> str:
    """Those that differ, marked; the others folded away."""
    labels = [column["label"] for column in game["columns"]]
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in ["", *labels])
    tables = [
        f"<div class='wide'><table class='hyperparameters'><thead><tr>{head}</tr></thead>"
        f"<tbody>{_values(game['hyperparameters'], differs)}</tbody></table></div>"
        for differs in (True, False)
    ]
    n = sum(row["differs"] for row in game["hyperparameters"])
    different = tables[0] if n else "<p>None.</p>"
    same = len(game["hyperparameters"]) - n
    return (
        f"<h3>Hyperparameters that differ</h3>{different}"
        f"<details><summary>{same} that are the same</summary>{tables[1]}</details>"
    )


def _values(rows: list[Data], differs: bool) -> str:
    made = []
    for row in rows:
        if row["differs"] is differs:
            shown = ["default" if value is None else value for value in row["values"]]
            common = max(shown, key=shown.count)
            marks = [' class="differs"' if differs and v != common else "" for v in shown]
            cells = (f"<td{m}>{escape(v)}</td>" for m, v in zip(marks, shown, strict=True))
            made.append(f'<tr><th scope="row">{escape(row["name"])}</th>{"".join(cells)}</tr>')
    return "".join(made)


def _json(content: Data) -> str:
    """JSON that no script element ends early in."""
    text = json.dumps(content, allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _part(name: str) -> str:
    return (resources.files("custom.compare") / name).read_text(encoding="utf-8")
