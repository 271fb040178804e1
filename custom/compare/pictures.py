"""The pictures of a comparison, drawn from its data, as PNG and SVG."""

import re
import textwrap
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from custom.compare.comparison import Data
from custom.compare.tables import ALL_GAMES
from custom.evaluation.plot import draw_levels

# Okabe and Ito's palette for the colour-blind, with grey and brown for its black and yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d")
DASHES = ("-", "--", "-.", ":")  # or equal curves would hide each other


def draw_all(data: Data, folder: Path) -> dict[str, Path]:
    """Draw the curves of each game and the profiles over all games, as PNG and SVG.

    :return: the SVG files by the titles of their sections
    """
    figures = {game["env_id"]: ("curves-", _curves(game)) for game in data["games"]}
    if data["over_games"]:
        figures[ALL_GAMES] = ("profiles-", _profiles(data["over_games"]))
    files = {}
    with mpl.rc_context({"svg.hashsalt": "compare", "svg.fonttype": "none"}):
        for title, (kind, figure) in figures.items():
            name = kind + re.sub(r"[^\w-]+", "-", title)
            files[title] = folder / f"{name}.svg"
            figure.savefig(files[title], metadata={"Date": None})
            figure.savefig(files[title].with_suffix(".png"))
    return files


def score_range(curves: list[Data]) -> tuple[float, float]:
    """Lowest and highest score of all curves and bands, with a margin."""
    scores = [y for curve in curves for name in ("iqm", "low", "high") for y in curve[name] or []]
    margin = 0.05 * (max(scores) - min(scores)) or 1.0
    return min(scores) - margin, max(scores) + margin


def _curves(game: Data) -> Figure:
    """Score against frames, a line with its band for each column."""
    figure, axes = _figure(
        f"{game['env_id']}: IQM over seeds, 95 % stratified bootstrap",
        "frames (million)",
        "raw score of a full game",
    )
    for i, column in enumerate(game["columns"]):
        frames = [frame / 1e6 for frame in column["curve"]["frames"]]
        seeds = len(column["seeds"])
        label = f"{_wrapped(column['label'])}, {seeds} seed{'s' * (seeds > 1)}"
        _line(axes, i, frames, column["curve"], "iqm", label)
    low, high = score_range([column["curve"] for column in game["columns"]])
    levels = [(level["score"], level["label"]) for level in game["levels"]]
    draw_levels(axes, levels, low, high)
    figure.legend(loc="outside lower center", ncols=2, fontsize="x-small")
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
