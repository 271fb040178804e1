"""Training games of several runs in one picture, a colour for each name, and their figures.

    python -m benchmarks.curves "1 game=RUN" "1 game=RUN" "8 games=RUN" \\
        --png docs/images/envs.png --out benchmarks/results/envs-150k.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from custom.runs.folder import GAMES_FILE, Run, open_run

GAMES = 50  # of a running mean


def figures(name: str, run: Run) -> dict[str, Any]:
    """Every training game of a run, its evaluation at the end, and what it was."""
    games = pd.read_csv(run.path / GAMES_FILE)
    facts = ("game", "recipe", "seed", "n_timesteps", "git_revision")
    return {
        "name": name,
        **{fact: run.facts[fact] for fact in facts},
        "steps": games["steps"].tolist(),
        "scores": games["score"].tolist(),
        "evaluation": json.loads((run.path / "evaluation.json").read_text())["scores"],
    }


def draw(found: list[dict[str, Any]], file: Path) -> None:
    """Running means as lines, one for each run."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(run["name"] for run in found))
    for run in found:
        mean = pd.Series(run["scores"]).rolling(GAMES).mean()
        colour = f"C{names.index(run['name'])}"
        axes.plot(np.array(run["steps"]) / 1000, mean, color=colour, linewidth=1)
    for i, name in enumerate(names):
        axes.plot([], [], color=f"C{i}", label=name)
    axes.set(xlabel="steps (thousands; 1 step = 4 frames)")
    axes.set(ylabel=f"{found[0]['game']}, points, mean of {GAMES} training games")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=130)


def main() -> None:
    """Read the runs and write both files."""
    flags = argparse.ArgumentParser(prog="benchmarks.curves", description=__doc__)
    flags.add_argument("runs", nargs="+", metavar="NAME=RUN")
    flags.add_argument("--png", type=Path, required=True)
    flags.add_argument("--out", type=Path, required=True)
    args = flags.parse_args()
    named = (text.partition("=") for text in args.runs)
    found = [figures(name, open_run(Path(path))) for name, _, path in named]
    args.out.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    draw(found, args.png)


if __name__ == "__main__":
    main()
