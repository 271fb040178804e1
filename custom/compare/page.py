"""``report.html``: the comparison as one file that needs no network.

All text from files of runs is escaped; a policy in the page keeps the browser from fetching
anything.
"""

from __future__ import annotations

import base64
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from custom.compare.comparison import Data
from custom.compare.pictures import COLOURS, GREY, beyond, score_range
from custom.compare.tables import READING, sections, settings_tables

LARGEST_FILM = 6_000_000  # bytes; in the page it takes a third more
DASHES = ("solid", "dash", "dashdot", "dot")


def page(data: Data) -> str:
    """The whole page."""
    parts: list[Data] = [{"title": title, "tables": tables} for title, tables in sections(data)]
    for part, game in zip(parts, data["games"], strict=False):
        _, same = settings_tables(game)
        part |= {"chart": _curves(game), "films": _films(game), "same": same}
    if data["over_games"]:
        parts[-1]["chart"] = _profiles(data["over_games"])
    template = (resources.files("custom.compare") / "report.html").read_text(encoding="utf-8")
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(template)
        .render(
            title=f"Comparison: {', '.join(game['env_id'] for game in data['games'])}",
            sections=parts,
            notes=data["notes"],
            reading=READING,
            plotly=Markup(get_plotlyjs()),
        )
    )


def _curves(game: Data) -> Markup:
    """Score against frames, with the levels within the range of scores."""
    traces: list[Data] = []
    for i, column in enumerate(game["columns"]):
        frames = [frame / 1e6 for frame in column["curve"]["frames"]]
        traces += _line(i, frames, column["curve"], "iqm", column["label"])
    low, high = score_range(game["columns"])
    ends = [0, max(max(trace["x"]) for trace in traces)]
    for i, level in enumerate(game["levels"]):
        if low <= level["score"] <= high:
            line = {"color": GREY, "dash": DASHES[i % len(DASHES)], "width": 1}
            label = f"{level['label']}: {level['score']:.4g}"
            y = [level["score"]] * 2
            shared = {"name": escape(label), "line": line, "mode": "lines", "hoverinfo": "skip"}
            traces.append({"x": ends, "y": y, **shared})
    above, below = beyond(game["levels"], low, high)
    edges = [(above, 0, 1, "left", "top"), (below, 1, 0, "right", "bottom")]
    notes = [
        {"text": escape(text), "x": x, "y": y, "xanchor": xanchor, "yanchor": yanchor}
        | {"xref": "paper", "yref": "paper", "showarrow": False}
        for text, x, y, xanchor, yanchor in edges
        if text
    ]
    titles = ("frames (million)", "raw score of a full game: IQM over seeds, 95 % band")
    return _chart(game["env_id"], titles, traces, [low, high], notes)


def _profiles(over_games: Data) -> Markup:
    """Share of runs above each human-normalised score."""
    traces: list[Data] = []
    for i, column in enumerate(over_games["columns"]):
        traces += _line(i, over_games["thresholds"], column["profile"], "share", column["label"])
    titles = ("human-normalised score", "share of runs above it")
    return _chart("profiles", titles, traces, [-0.02, 1.02], [])


def _line(i: int, x: list[float], curve: Data, name: str, label: str) -> list[Data]:
    """A curve and its band, which the legend switches together."""
    colour = COLOURS[i % len(COLOURS)]
    line = {
        "x": x,
        "y": curve[name],
        "name": escape(label),
        "legendgroup": str(i),
        "line": {"color": colour, "dash": DASHES[i % len(DASHES)]},
        "mode": "lines+markers" if name == "iqm" else "lines",
        "hovertemplate": "%{y:.4~g}",
    }
    if not curve["low"]:
        return [line]
    line["customdata"] = list(zip(curve["low"], curve["high"], strict=True))
    line["hovertemplate"] += " [%{customdata[0]:.4~g}, %{customdata[1]:.4~g}]"
    band = {
        "x": [*x, *reversed(x)],
        "y": [*curve["high"], *reversed(curve["low"])],
        "fill": "toself",
        "fillcolor": f"{colour}2e",
        "line": {"width": 0},
        "mode": "lines",
        "legendgroup": str(i),
        "showlegend": False,
        "hoverinfo": "skip",
    }
    return [band, line]


def _chart(
    name: str, titles: tuple[str, str], traces: list[Data], y_range: list[float], notes: list[Data]
) -> Markup:
    layout: dict[str, Any] = {
        "template": "none",
        "height": 480,
        "margin": {"t": 20, "r": 20},
        "hovermode": "x unified",
        "hoverdistance": -1,  # the nearest evaluation, however far
        "xaxis": {"title": {"text": titles[0]}},
        "yaxis": {"title": {"text": titles[1]}, "range": y_range, "zeroline": False},
        "legend": {"orientation": "h", "y": -0.18},
        "annotations": notes,
    }
    figure = {"data": traces, "layout": layout}
    config = {"displaylogo": False}
    return Markup(to_html(figure, config, include_plotlyjs=False, full_html=False, div_id=name))


def _films(game: Data) -> list[tuple[str, str]]:
    """For each column caption and data URI of one run's film, if there is one."""
    films = []
    for column in game["columns"]:
        for run in column["runs"]:
            file = Path(run["video"] or "")
            if file.is_file() and file.stat().st_size <= LARGEST_FILM:
                content = base64.b64encode(file.read_bytes()).decode()
                score = f"{run['mean'][-1]:.1f} in its last evaluation"
                caption = f"{column['label']}, seed {run['seed']}: {score}"
                films.append((caption, f"data:video/mp4;base64,{content}"))
                break
    return films
