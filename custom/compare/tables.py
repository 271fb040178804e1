"""The tables of a comparison as text, for the terminal and the page; and a CSV file."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from custom.compare.comparison import Data
from custom.system.console import print_table

ALL_GAMES = "All games"
READING = (
    "A run's score is the mean of its last evaluation. IQM: mean of the middle half of the runs;"
    " of two or three runs the mean of all. Intervals: 95 %, stratified bootstrap over seeds, each"
    " pair by itself. P: probability that a run of the first beats a run of the second. p:"
    " two-sided permutation test of the means, and adjusted for the number of pairs (Holm)."
)


@dataclass(frozen=True)
class Table:
    """A table of text. The page sorts by the number that a cell begins with.

    :param note: what to know when reading it
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def sections(data: Data) -> list[tuple[str, list[Table]]]:
    """Title and tables of each game, then of all games together."""
    parts = [(game["env_id"], _tables_of(game)) for game in data["games"]]
    if data["over_games"]:
        pairs = _pairs(data["over_games"]["pairs"], [], "{:.3f}")
        parts.append((ALL_GAMES, [_over_games(data["over_games"]), pairs]))
    return parts


def show(data: Data) -> None:
    """Print final scores, pairs and what was left out."""
    for title, (scores, pairs, *_) in sections(data):
        for table in (scores, pairs):
            if table.rows:
                print_table(f"\n{title}: {table.title.lower()}", table.head, table.rows)
        if pairs.note:
            print(pairs.note)
    print("\n".join(["", *data["notes"]]))


def write_csv(data: Data, file: Path) -> None:
    """Every evaluation of every run, one line each."""
    runs = [
        {"game": game["env_id"], "column": column["label"], "recipe": column["recipe"], **run}
        for game in data["games"]
        for column in game["columns"]
        for run in column["runs"]
    ]
    columns = ["steps", "frames", "mean", "std"]
    lines = pd.DataFrame(runs).explode(columns)
    lines[["game", "column", "recipe", "name", "seed", *columns]].to_csv(file, index=False)


def _tables_of(game: Data) -> list[Table]:
    head = ["", *(column["label"] for column in game["columns"])]
    settings = [[name, *vs] for name, vs in game["settings"].items() if len(set(vs)) > 1]
    different = Table("Settings that differ", head, settings, "" if settings else "None.")
    return [_final_scores(game), _pairs(game["pairs"], game["remarks"]), _costs(game), different]


def _final_scores(game: Data) -> Table:
    head = ["recipe", "seeds", "games", "frames", "mean", "median", "IQM", "95 % of the IQM"]
    rows = [
        [
            column["label"],
            f"{len(column['seeds'])}",
            f"{column['final_games']}",
            f"{column['final_frames'] / 1e6:.4g}M",
            *(_number(column[name]) for name in ("mean", "median", "iqm")),
            _interval(column["iqm_95"]),
            "-" if column["human_normalised"] is None else f"{column['human_normalised']:.3f}",
        ]
        for column in game["columns"]
    ]
    levels = "; ".join(f"{x['label']} {_number(x['score'])}, {x['source']}" for x in game["levels"])
    note = f"{_protocol(game)} For reference, each by its own protocol: {levels or 'nothing'}."
    return Table("Final scores", [*head, "human-normalised"], rows, note)


def _protocol(game: Data) -> str:
    protocols = [column["protocol"] for column in game["columns"]]
    p = protocols[0]
    if any(protocol != p for protocol in protocols):
        return "Raw points of full games, by different protocols, which are not compared."
    return (
        f"Raw points of full games, {p['episodes']:g} an evaluation, epsilon {p['epsilon']:g},"
        f" 1-{p['noop_max']:g} no-ops, sticky actions {p['repeat_action_probability']:g}."
    )


def _pairs(pairs: list[Data], remarks: list[str], form: str = "{:,.1f}") -> Table:
    """Which of two columns is better, if that can be said.

    :param form: of a difference
    """
    head = ["first and second", "verdict", "difference", "95 %"]
    head += ["P(first > second)", "95 % of P", "p", "p adjusted"]
    rows = [
        [
            f"{pair['x']} and {pair['y']}",
            _verdict(pair),
            form.format(pair["difference"]),
            _interval(pair["difference_95"], form),
            f"{pair['probability']:.2f}",
            _interval(pair["probability_95"], "{:.2f}"),
            _probability(pair["p"]),
            _probability(pair["p_adjusted"]),
        ]
        for pair in pairs
    ]
    note = " ".join(f"{remark}." for remark in remarks) or ("" if rows else "No pair to compare.")
    return Table("Is the difference real?", head, rows, note)


def _verdict(pair: Data) -> str:
    """The verdict on a pair, with the name of the better one."""
    if pair["verdict"] in ("better", "worse"):
        return f"{pair['x'] if pair['verdict'] == 'better' else pair['y']} is better"
    return str(pair["verdict"])


def _costs(game: Data) -> Table:
    """Duration and CPU time of the trainings, and frames and time until each level."""
    longest = max(column["seconds"] or 0 for column in game["columns"])
    unit, seconds = ("min", 60) if longest < 2 * 3600 else ("h", 3600)

    def time(value: float | None) -> str:
        return "-" if value is None else f"{value / seconds:,.1f} {unit}"

    def cell(level: Data, seeds: list[int]) -> str:
        share = f"({level['runs']} of {len(seeds)})"
        if level["median_frames"] is None:
            return f"not reached {share}"
        return f"{level['median_frames'] / 1e6:.4g}M, {time(level['median_seconds'])} {share}"

    rows = [
        [
            column["label"],
            time(column["seconds"]),
            _number(column["core_hours"], 2),
            ", ".join(column["machines"]),
            *(cell(level, column["seeds"]) for level in column["levels"]),
        ]
        for column in game["columns"]
    ]
    levels = [f"{level['label']} ({_number(level['score'])})" for level in game["levels"]]
    note = (
        "Times include evaluations; compare only those of one machine. Core-hours: CPU time of the"
        " training's process without evaluations; processes that play games are not counted. For"
        " each level: frames and time until the first evaluation at it, median over the runs; in"
        " brackets: runs that did."
    )
    return Table("Cost", ["recipe", "training", "core-hours", "machine", *levels], rows, note)


def _over_games(over_games: Data) -> Table:
    names = ("mean", "median", "iqm", "optimality_gap")
    rows = [
        [
            column["label"],
            f"{column['runs_a_game']}",
            *(f"{column[n]:.3f} {_interval(column[f'{n}_95'], '{:.3f}')}" for n in names),
        ]
        for column in over_games["columns"]
    ]
    head = ["recipe", "runs a game", "mean", "median", "IQM", "optimality gap"]
    note = f"Human-normalised (0 random, 1 human), over {', '.join(over_games['games'])}."
    return Table("Human-normalised scores", head, rows, note)


def _number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    rounded = round(value, digits) + 0.0  # no -0.0
    return f"{rounded:,.{digits}f}" if abs(rounded) < 10_000 else f"{rounded:,.0f}"


def _interval(ends: list[float] | None, form: str = "{:,.1f}") -> str:
    return "-" if ends is None else f"[{form.format(ends[0])}, {form.format(ends[1])}]"


def _probability(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
