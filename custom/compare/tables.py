"""The tables of a comparison: rows of text that Markdown and the page share, and a CSV file."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from custom.compare.comparison import Data

READING = (
    "A run's score is the mean of its last evaluation. IQM: mean of the middle half of the runs,"
    " of two or three runs that of all."
    " Intervals: 95 %, stratified bootstrap over seeds. P: probability that a run of the first"
    " beats a run of the second. p: two-sided permutation test of the means, and the same adjusted"
    " for the number of pairs (Holm). Intervals are of each pair by itself."
)


@dataclass(frozen=True)
class Table:
    """A table of text; cells that begin with a number are sorted by it.

    :param note: what to know when reading it
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def tables_of(game: Data) -> list[Table]:
    """Final scores, pairs, frames to levels, wall clock of one game."""
    return [final_scores(game), pairs_of(game["pairs"], game["remarks"]), *_costs(game)]


def final_scores(game: Data) -> Table:
    """Where each column ends."""
    rows = [
        [
            column["label"],
            f"{len(column['seeds'])}",
            f"{column['final_games']}",
            f"{column['final_frames'] / 1e6:.4g}M",
            *(number(column[name]) for name in ("mean", "median", "iqm")),
            interval(column["iqm_95"]),
            "-" if column["human_normalised"] is None else f"{column['human_normalised']:.3f}",
        ]
        for column in game["columns"]
    ]
    head = ["recipe", "seeds", "games", "frames", "mean", "median", "IQM", "95 % of the IQM"]
    levels = "; ".join(f"{x['label']} {number(x['score'])}, {x['source']}" for x in game["levels"])
    note = f"{protocol_line(game)} For reference, each by its own protocol: {levels or 'nothing'}."
    return Table("Final scores", [*head, "human-normalised"], rows, note)


def protocol_line(game: Data) -> str:
    """How the scores were measured, where that is the same for all."""
    found = [column["protocol"] for column in game["columns"]]
    if any(protocol != found[0] for protocol in found):
        return "Columns of different protocols, named in the first cell."
    p = found[0]
    return (
        f"Raw points of full games, {p['episodes']:g} an evaluation, epsilon {p['epsilon']:g},"
        f" 1-{p['noop_max']:g} no-ops, sticky actions {p['repeat_action_probability']:g}."
    )


def pairs_of(pairs: list[Data], remarks: list[str], form: str = "{:,.1f}") -> Table:
    """Which of two columns is better, if that can be said.

    :param form: of a difference
    """
    rows = [
        [
            f"{pair['x']} and {pair['y']}",
            said(pair),
            form.format(pair["difference"]),
            interval(pair["difference_95"], form),
            f"{pair['probability']:.2f}",
            interval(pair["probability_95"], "{:.2f}"),
            chance(pair["p"]),
            chance(pair["p_adjusted"]),
        ]
        for pair in pairs
    ]
    head = ["first and second", "verdict", "difference", "95 %"]
    head += ["P(first > second)", "95 % of P", "p", "p adjusted"]
    return Table("Is the difference real?", head, rows, " ".join(f"{x}." for x in remarks))


def chance(p: float | None) -> str:
    """A probability, as tests give it."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def said(pair: Data) -> str:
    """The verdict on a pair, with the name of the better one."""
    if pair["verdict"] in ("better", "worse"):
        return f"{pair['x'] if pair['verdict'] == 'better' else pair['y']} is better"
    return str(pair["verdict"])


def _costs(game: Data) -> list[Table]:
    """Frames and hours until each level, and speed."""
    levels = game["levels"]
    sample, wall = [], []
    for column in game["columns"]:
        runs, clock = len(column["runs"]), column["clock"]
        found = column["levels"]
        sample.append([column["label"], *(_frames(level, runs) for level in found)])
        wall.append(
            [
                column["label"],
                hours(clock["hours"]),
                number(clock["frames_per_second"]),
                *(hours(_hours(level["median_seconds"])) for level in found),
                ", ".join(clock["hardware"]),
            ]
        )
    heads = [f"{level['label']} ({number(level['score'])})" for level in levels]
    note = "Median over the runs of the first evaluation at the level; in brackets: runs that did."
    head = ["recipe", "hours", "frames/s", *heads, "machine"]
    clock_note = "Hours of training with its evaluations; compare those of one machine alone."
    return [
        Table("Frames to reach a level", ["recipe", *heads], sample, note),
        Table("Hours to reach a level", head, wall, clock_note),
    ]


def over_games_table(over_games: Data) -> Table:
    """Human-normalised aggregates."""
    names = ("mean", "median", "iqm", "optimality_gap")
    rows = [
        [
            column["label"],
            f"{column['runs_a_game']}",
            *(
                f"{column[n]:.3f} {interval(column[f'{n}_95'], '{:.3f}')}".rstrip("- ")
                for n in names
            ),
        ]
        for column in over_games["columns"]
    ]
    head = ["recipe", "runs a game", "mean", "median", "IQM", "optimality gap"]
    note = f"Human-normalised (0 random, 1 human), over {', '.join(over_games['games'])}."
    return Table("Over games", head, rows, note)


def markdown(data: Data) -> str:
    """Everything as ``table.md``."""
    parts = []
    for game in data["games"]:
        parts += [f"# {_escaped(game['env_id'])}", *map(_markdown_table, tables_of(game))]
    if data["over_games"]:
        found = data["over_games"]
        parts += ["# All games", _markdown_table(over_games_table(found))]
        parts.append(_markdown_table(pairs_of(found["pairs"], [], "{:.3f}")))
    if data["notes"]:
        parts += ["# Kept apart or left out", "\n".join(f"- {_escaped(n)}" for n in data["notes"])]
    return "\n\n".join([*parts, READING]) + "\n"


def short(data: Data) -> str:
    """Final scores, pairs and what was left out, for a terminal."""
    parts = []
    for game in data["games"]:
        scores = replace(final_scores(game), note=protocol_line(game))
        pairs = pairs_of(game["pairs"], game["remarks"])
        parts += [game["env_id"], _aligned(scores), _aligned(pairs)]
    if data["over_games"]:
        parts += ["all games", _aligned(over_games_table(data["over_games"]))]
    return "\n".join([*parts, *data["notes"]])


def write_csv(data: Data, file: Path) -> None:
    """Every evaluation of every run."""
    names = ("mean", "std", "human_normalised")
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        head = ["game", "column", "recipe", "seed", "run", "steps", "frames", *names, "last"]
        writer.writerow(head)
        for game in data["games"]:
            for column in game["columns"]:
                for run in column["runs"]:
                    own = [game["env_id"], column["label"], column["recipe"], run["seed"]]
                    frames, last = column["curve"]["frames"], len(run["steps"]) - 1
                    for i, steps in enumerate(run["steps"]):
                        values = [run[name][i] for name in names]
                        place = [run["name"], int(steps), int(frames[i])]
                        writer.writerow([*own, *place, *values, int(i == last)])


def number(value: float | None) -> str:
    """A score as people write it."""
    if value is None:
        return "-"
    shown = round(value, 1) + 0.0  # no -0.0
    return f"{shown:,.1f}" if abs(shown) < 10_000 else f"{shown:,.0f}"


def interval(ends: list[float] | None, form: str = "{:,.1f}") -> str:
    """Two ends, or a dash."""
    return "-" if ends is None else f"[{form.format(ends[0])}, {form.format(ends[1])}]"


def hours(value: float | None) -> str:
    """Hours with three digits, as a sorted table reads them."""
    if value is None:
        return "-"
    return np.format_float_positional(value, precision=3, unique=False, fractional=False, trim="-")


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 3600


def _frames(level: Data, runs: int) -> str:
    median = level["median_frames"]
    shown = "not reached" if median is None else f"{median / 1e6:.4g}M"
    return f"{shown} ({level['runs_that_did']} of {runs})"


def _markdown_table(table: Table) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    body = "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)
    body = body if table.rows else ""
    return "\n\n".join(part for part in (f"## {table.title}", body, _escaped(table.note)) if part)


def _aligned(table: Table) -> str:
    rows = [table.head, *table.rows] if table.rows else []
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.head))] if rows else []
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *([table.note] if table.note else []), ""])


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))
