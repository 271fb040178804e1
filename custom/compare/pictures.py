"""The pictures of a comparison, drawn from its data, as PNG and SVG."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from custom.compare.comparison import Data

# Okabe and Ito's colours, which the colour-blind can tell apart, but for black and yellow, which
# not every paper shows; the page has the same.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#a6761d")
DASHES = ("-", "--", "-.", ":")
ENDINGS = ("png", "svg")
REFERENCES = {"random": ":", "best action": "--", "nature": "-."}


def draw_all(data: Data, folder: Path) -> list[str]:
    """Draw every picture twice.

    :return: names of the files
    """
    figures: dict[str, Figure] = {}
    for game in data["games"]:
        name = game["env_id"].replace("/", "-")
        figures[f"curves-{name}"] = draw_curves(game)
        figures[f"scores-{name}"] = draw_scores(game)
        if game["pairs"]:
            figures[f"pairs-{name}"] = draw_pairs(game["pairs"], game["env_id"])
    if data["over_games"]:
        figures["profiles"] = draw_profiles(data["over_games"])
    with mpl.rc_context({"svg.hashsalt": "compare", "svg.fonttype": "none"}):
        for name, figure in figures.items():
            for ending in ENDINGS:
                metadata: Any = {"Date": None} if ending == "svg" else None
                figure.savefig(folder / f"{name}.{ending}", metadata=metadata)
    return [f"{name}.{ending}" for name in figures for ending in ENDINGS]


def draw_curves(game: Data) -> Figure:
    """Score against frames, a line with its band for each column."""
    figure, axes = _figure(
        f"{game['env_id']}: IQM over seeds, 95 % stratified bootstrap",
        "frames (million)",
        "raw score of a full game",
    )
    for i, column in enumerate(game["columns"]):
        curve, style = column["curve"], _style(i)
        frames = [frame / 1e6 for frame in curve["frames"]]
        label = f"{short(column['label'])}, {_seeds(column)}"
        axes.plot(frames, curve["iqm"], marker="o", ms=3, label=label, **style)
        if curve["low"]:
            axes.fill_between(frames, curve["low"], curve["high"], color=style["color"], alpha=0.18)
    for level in game["levels"]:
        if level["name"] in REFERENCES:
            label = f"{level['label']}: {level['score']:.4g}"
            style = {"color": "0.45", "ls": REFERENCES[level["name"]], "lw": 1}
            axes.axhline(level["score"], label=label, **style)
    axes.set_title(
        f"{game['env_id']}: IQM over seeds, 95 % stratified bootstrap", fontsize="medium"
    )
    axes.legend(loc="best", fontsize="x-small")
    return figure


def draw_scores(game: Data) -> Figure:
    """The final score of each column with its interval, and of each of its runs."""
    columns = game["columns"]
    figure, axes = _figure(f"{game['env_id']}: final score", "raw score of a full game", "")
    for i, column in enumerate(columns):
        colour = COLOURS[i % len(COLOURS)]
        means = [run["mean"][-1] for run in column["runs"]]
        axes.plot(means, [i] * len(means), "o", color=colour, alpha=0.4, ms=5)
        _interval(axes, column["iqm"], column["iqm_95"], i, colour)
    _rows(axes, [f"{short(column['label'])}\n{_seeds(column)}" for column in columns])
    return figure


def draw_pairs(pairs: list[Data], title: str) -> Figure:
    """The probability that a run of one column beats a run of the other."""
    figure, axes = _figure(f"{title}: probability of improvement", "P(first > second)", "")
    for i, pair in enumerate(pairs):
        _interval(axes, pair["probability"], pair["probability_95"], i, COLOURS[0])
    axes.axvline(0.5, color="0.45", ls=":", lw=1)
    axes.set_xlim(-0.02, 1.02)
    labels = [f"{short(p['x'])} > {short(p['y'])}\n{p['verdict'].split(':')[0]}" for p in pairs]
    _rows(axes, labels)
    return figure


def draw_profiles(over_games: Data) -> Figure:
    """Performance profiles: the share of runs above each human-normalised score."""
    title = f"performance profiles, {len(over_games['games'])} games"
    figure, axes = _figure(title, "human-normalised score τ", "share of runs with score > τ")
    for i, column in enumerate(over_games["columns"]):
        profile, style, at = column["profile"], _style(i), over_games["thresholds"]
        axes.plot(at, profile["share"], label=short(column["label"]), **style)
        if profile["low"]:
            axes.fill_between(at, profile["low"], profile["high"], color=style["color"], alpha=0.18)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="best", fontsize="x-small")
    return figure


def plain(text: str) -> str:
    """Text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")


def short(label: str) -> str:
    """A label in lines that leave room for what it names."""
    return plain(textwrap.fill(label, 36))


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    return figure, axes


def _style(i: int) -> dict[str, Any]:
    dash = DASHES[i % len(DASHES)]  # or equal curves would hide each other
    return {"color": COLOURS[i % len(COLOURS)], "ls": dash, "lw": 1.8}


def _interval(axes: Axes, point: float, ends: list[float] | None, row: int, colour: str) -> None:
    if ends:
        axes.plot(ends, [row, row], color=colour, lw=6, alpha=0.3, solid_capstyle="butt")
    axes.plot([point], [row], "|", color=colour, ms=18, mew=2.5)


def _rows(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize="small")
    axes.set_ylim(len(labels) - 0.4, -0.6)
    lines = sum(label.count("\n") + 1 for label in labels)
    axes.figure.set_figheight(1.3 + 0.1 * len(labels) + 0.22 * lines)  # type: ignore[union-attr]


def _seeds(column: Data) -> str:
    n = len(column["seeds"])
    return f"{n} seed" + "s" * (n > 1)
