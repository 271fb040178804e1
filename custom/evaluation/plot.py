"""The learning curve of a run, with the scores of play without learning."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from custom.evaluation.baselines import levels_of
from custom.runs.folder import Run
from custom.runs.metrics import FloatArray, evaluations, finished_games
from custom.system.errors import UserError
from custom.system.files import atomic_file

SMOOTH_GAMES = 100  # the window in which training scores are usually averaged
GREY, DASHES = "#606060", (":", "--", "-.", "-", (0, (1, 5)))


def plot_run(run: Run) -> Path:
    """Draw ``learning_curve.png`` into the run folder.

    :raises UserError: no game was finished yet
    """
    path, figure = run.path / "learning_curve.png", draw(run)
    with atomic_file(path) as file:
        figure.savefig(file, format="png")
    return path


def draw(run: Run) -> Figure:
    """The learning curve: training games, evaluations with their spread, baselines.

    :raises UserError: no game was finished yet, or a file of the run is damaged
    """
    games, evaluated = finished_games(run), evaluations(run)
    if not games["score"].size and evaluated is None:
        raise UserError(
            f"RUN {run.path}: there is nothing to plot: no game of a training and no evaluation"
        )
    figure = Figure(figsize=(9, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    _draw_training(axes, games)
    if evaluated is not None:
        _draw_evaluations(axes, evaluated, run.facts["frame_skip"])
    draw_levels(axes, [(level.score, level.label) for level in levels_of(run)], *axes.get_ylim())
    axes.set_title(f"{run.facts['env_id']}, {run.facts['recipe']}, seed {run.facts['seed']}")
    axes.set_xlabel("frames (million)")
    axes.set_ylabel("raw score of a full game")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=4, fontsize="x-small")
    return figure


def _draw_training(axes: Axes, games: dict[str, FloatArray]) -> None:
    frames, scores = games["frames"] / 1e6, games["score"]
    if not scores.size:
        return
    axes.plot(frames, scores, ".", ms=4, color="tab:blue", alpha=0.3, label="one game")
    window = min(SMOOTH_GAMES, len(scores) // 5)
    if window > 1:
        smooth = pd.Series(scores).rolling(window, min_periods=window // 2).mean()
        label = f"training, mean of {window} games"
        axes.plot(frames, smooth, color="tab:blue", lw=1.8, label=label)


def _draw_evaluations(axes: Axes, evaluated: dict[str, Any], frame_skip: int) -> None:
    frames = evaluated["timesteps"] * frame_skip / 1e6
    scores = evaluated["results"]
    axes.errorbar(
        frames,
        scores.mean(axis=1),
        yerr=scores.std(axis=1),
        fmt="o-",
        ms=4,
        lw=1,
        capsize=3,
        color="tab:orange",
        label=f"evaluation, mean ± std; games: {scores.shape[1]}",
    )


def draw_levels(axes: Axes, levels: list[tuple[float, str]], low: float, high: float) -> None:
    """Draw scores as lines from `low` to `high`; others are named at the edge, or they would
    flatten the curve.
    """
    named = [(score, f"{label}: {score:.4g}") for score, label in levels]
    inside = [(score, name) for score, name in named if low <= score <= high]
    for i, (score, name) in enumerate(inside):
        axes.axhline(score, color=GREY, ls=DASHES[i % len(DASHES)], lw=1.2, label=name)
    axes.set_ylim(low, high)
    note: dict[str, Any] = {"transform": axes.transAxes, "color": GREY, "fontsize": "x-small"}
    if above := ", ".join(name for score, name in sorted(named) if score > high):
        axes.text(0.01, 0.985, f"↑ {above}", va="top", **note)
    if below := ", ".join(name for score, name in sorted(named, reverse=True) if score < low):
        axes.text(0.99, 0.015, f"↓ {below}", ha="right", **note)
