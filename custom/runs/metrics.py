"""The learning curve of a run: finished training games, and evaluations during training."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from custom.runs.folder import EVALUATIONS_FILE, GAMES_FILE, Run
from custom.system.errors import UserError, one_line

FloatArray = npt.NDArray[np.float64]


def finished_games(run: Run) -> dict[str, FloatArray]:
    """`steps`, `frames` and raw `score` of every finished game of the training, (games,) each.

    Empty without the file, which the zoo's agents from the Hub do not have.

    :raises UserError: the file is damaged
    """
    file, columns = run.path / GAMES_FILE, ["steps", "frames", "score"]
    if not file.is_file() or not file.stat().st_size:
        return {name: np.empty(0) for name in columns}
    try:
        games = pd.read_csv(file, usecols=columns, dtype=float)
        if not np.isfinite(games.to_numpy()).all():
            raise ValueError("a number is not finite")
        return {name: games[name].to_numpy() for name in columns}
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({one_line(error)})") from None


def evaluations(run: Run) -> dict[str, Any] | None:
    """The evaluations during a training; None without any.

    :return: `timesteps`, (N,), and `results`, (N, games), raw scores
    :raises UserError: the file is damaged
    """
    file = run.path / EVALUATIONS_FILE
    if not file.is_file():
        return None
    try:
        with np.load(file) as content:
            steps, results = content["timesteps"].astype(float), content["results"].astype(float)
        if steps.ndim != 1 or results.ndim != 2 or len(steps) != len(results):
            raise ValueError(f"shapes {steps.shape} and {results.shape}")
        return {"timesteps": steps, "results": results}
    except Exception as error:  # whatever a damaged file makes NumPy raise
        raise UserError(f"{file}: cannot be read ({error})") from None


def core_hours(facts: dict[str, Any]) -> float | None:
    """CPU hours of a training without its evaluations, from run.json; None: unknown."""
    spent, evaluating = facts.get("cpu_seconds"), facts.get("evaluation_cpu_seconds")
    if spent is None or evaluating is None:
        return None
    return (float(spent) - float(evaluating)) / 3600
