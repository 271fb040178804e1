"""Learning curves of several runs in one picture, and their figures in one file.

    python -m benchmarks.curves "1 game=RUN" "8 games=RUN" --png docs/images/envs.png \\
        --out benchmarks/results/envs-150k.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from custom.callbacks import GAMES_FILE
from custom.runs import Run, open_run

GAMES = 100  # of a running mean


def figures(run: Run) -> dict[str, Any]:
    """Training games and evaluations of a run, and what it was."""
    games = pd.read_csv(run.path / GAMES_FILE)
    mean = games["score"].rolling(GAMES).mean()
    every = slice(GAMES - 1, None, GAMES // 10)
    with np.load(run.path / "evaluations.npz") as content:
        evaluations = {
            "steps": content["timesteps"].tolist(),
            "scores": content["results"].tolist(),
        }
    facts = ("game", "recipe", "seed", "engine", "steps", "wall_clock_seconds", "notes")
    return {
        **{name: run.facts[name] for name in facts},
        "training": {
            "steps": games["steps"][every].tolist(),
            f"mean_of_{GAMES}_games": mean[every].round(3).tolist(),
        },
        "evaluations": evaluations,
    }


def draw(found: dict[str, dict[str, Any]], file: Path) -> None:
    """Running means as lines, evaluations as points with their standard error."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, run in found.items():
        training, evaluations = run["training"], run["evaluations"]
        means = training[f"mean_of_{GAMES}_games"]
        [line] = axes.plot(np.array(training["steps"]) / 1000, means, label=f"{name}, training")
        scores = np.array(evaluations["scores"])
        error = scores.std(axis=1) / scores.shape[1] ** 0.5
        x, colour = np.array(evaluations["steps"]) / 1000, line.get_color()
        label = f"{name}, evaluation"
        axes.errorbar(x, scores.mean(axis=1), error, fmt="o", color=colour, capsize=2, label=label)
    run = next(iter(found.values()))
    axes.set(xlabel="steps (thousands; 1 step = 4 frames)", ylabel=f"{run['game']}, points")
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
    found = {name: figures(open_run(Path(path))) for name, _, path in named}
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    draw(found, args.png)


if __name__ == "__main__":
    main()
