"""The pictures of a comparison, drawn from its data, as PNG and SVG."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from custom.compare.comparison import Data
from custom.compare.tables import ALL_GAMES

# Okabe and Ito's palette for the colour-blind, with grey and brown for its black and yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d")
DASHES = ("-", "--", "-.", ":")  # or equal curves would hide each other
GREY = "#808080"


def draw_all(data: Data, folder: Path) -> dict[str, list[Path]]:
    """Draw every picture as PNG and SVG.

    :return: the SVG files of each game and of ``All games``
    """
    figures = {}
    for game in data["games"]:
        figures[game["env_id"]] = {"curves": _curves(game), "scores": _scores(game)}
        if game["pairs"]:
            figures[game["env_id"]]["pairs"] = _pairs(game["pairs"], game["env_id"])
    if data["over_games"]:
        figures[ALL_GAMES] = {"profiles": _profiles(data["over_games"])}
    files: dict[str, list[Path]] = {}
    with mpl.rc_context({"svg.hashsalt": "compare", "svg.fonttype": "none"}):
        for title, pictures in figures.items():
            for name, figure in pictures.items():
                suffix = "" if title == ALL_GAMES else "-" + re.sub(r"[^\w-]+", "-", title)
                file = folder / f"{name}{suffix}.svg"
                figure.savefig(file, metadata={"Date": None})
                figure.savefig(file.with_suffix(".png"))
                files.setdefault(title, []).append(file)
    return files


def score_range(curves: list[Data]) -> tuple[float, float]:
    """Lowest and highest score of all curves and bands, with a margin."""
    scores = [y for curve in curves for name in ("iqm", "low", "high") for y in curve[name] or []]
    margin = 0.05 * (max(scores) - min(scores)) or 1.0
    return min(scores) - margin, max(scores) + margin


def beyond(levels: list[Data], low: float, high: float) -> tuple[str, str]:
    """Names of the levels above and below a range, for its edges: far lines flatten a curve."""
    names = [(level["score"], f"{level['label']} {level['score']:.4g}") for level in levels]
    above = ", ".join(name for score, name in sorted(names) if score > high)
    below = ", ".join(name for score, name in sorted(names, reverse=True) if score < low)
    return above and f"↑ {above}", below and f"↓ {below}"


def _curves(game: Data) -> Figure:
    """Score against frames, a line with its band for each column."""
    figure, axes = _figure(
        f"{game['env_id']}: IQM over seeds, 95 % stratified bootstrap",
        "frames (million)",
        "raw score of a full game",
    )
    for i, column in enumerate(game["columns"]):
        frames = [frame / 1e6 for frame in column["curve"]["frames"]]
        label = f"{_wrapped(column['label'])}, {_seeds(column)}"
        _line(axes, i, frames, column["curve"], "iqm", label)
    low, high = score_range([column["curve"] for column in game["columns"]])
    for i, level in enumerate(game["levels"]):
        if low <= level["score"] <= high:
            label = f"{level['label']}: {level['score']:.4g}"
            axes.axhline(level["score"], color=GREY, ls=DASHES[i % 4], lw=1, label=label)
    axes.set_ylim(low, high)
    above, below = beyond(game["levels"], low, high)
    note: dict[str, Any] = {"transform": axes.transAxes, "color": GREY, "fontsize": "x-small"}
    axes.text(0.01, 0.985, above, va="top", **note)
    axes.text(0.99, 0.015, below, ha="right", **note)
    figure.legend(loc="outside lower center", ncols=2, fontsize="x-small")
    return figure


def _scores(game: Data) -> Figure:
    """The final score of each column with its interval, and of each of its runs."""
    columns = game["columns"]
    figure, axes = _figure(f"{game['env_id']}: final score", "raw score of a full game", "")
    for i, column in enumerate(columns):
        colour = COLOURS[i % len(COLOURS)]
        means = [run["mean"][-1] for run in column["runs"]]
        axes.plot(means, [i] * len(means), "o", color=colour, alpha=0.4, ms=5)
        _interval(axes, column["iqm"], column["iqm_95"], i, colour)
    _rows(axes, [f"{_wrapped(column['label'])}\n{_seeds(column)}" for column in columns])
    return figure


def _pairs(pairs: list[Data], title: str) -> Figure:
    """The probability that a run of one column beats a run of the other."""
    figure, axes = _figure(f"{title}: probability of improvement", "P(first > second)", "")
    for i, pair in enumerate(pairs):
        _interval(axes, pair["probability"], pair["probability_95"], i, COLOURS[0])
    axes.axvline(0.5, color=GREY, ls=":", lw=1)
    axes.set_xlim(-0.02, 1.02)
    labels = [f"{_wrapped(p['x'])} > {_wrapped(p['y'])}\n{_wrapped(p['verdict'])}" for p in pairs]
    _rows(axes, labels)
    return figure


def _profiles(over_games: Data) -> Figure:
    """Performance profiles: the share of runs above each human-normalised score."""
    title = f"performance profiles, {len(over_games['games'])} games"
    figure, axes = _figure(title, "human-normalised score τ", "share of runs with score > τ")
    for i, column in enumerate(over_games["columns"]):
        label = _wrapped(column["label"])
        _line(axes, i, over_games["thresholds"], column["profile"], "share", label)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="best", fontsize="x-small")
    return figure


def _line(axes: Axes, i: int, x: list[float], curve: Data, name: str, label: str) -> None:
    colour, marker = COLOURS[i % len(COLOURS)], "o" if name == "iqm" else ""
    dash = DASHES[i % len(DASHES)]
    axes.plot(x, curve[name], dash, color=colour, lw=1.8, marker=marker, ms=3, label=label)
    if curve["low"]:
        axes.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.18)


def _wrapped(text: str) -> str:
    """Text in short lines, in which matplotlib finds no formula."""
    return textwrap.fill(text, 36).replace("$", r"\$")


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    return figure, axes


def _interval(axes: Axes, point: float, ends: list[float] | None, row: int, colour: str) -> None:
    if ends:
        axes.plot(ends, [row, row], color=colour, lw=6, alpha=0.3, solid_capstyle="butt")
    axes.plot([point], [row], "|", color=colour, ms=18, mew=2.5)


def _rows(axes: Axes, labels: list[str]) -> None:
    """Name the rows, and make the figure as high as they need."""
    axes.set_yticks(range(len(labels)), labels, fontsize="small")
    axes.set_ylim(len(labels) - 0.4, -0.6)
    lines = sum(label.count("\n") + 1 for label in labels)
    axes.figure.set_figheight(1.3 + 0.1 * len(labels) + 0.22 * lines)  # type: ignore[union-attr]


def _seeds(column: Data) -> str:
    n = len(column["seeds"])
    return f"{n} seed" + "s" * (n > 1)
