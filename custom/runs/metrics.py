"""The learning curve of a run: finished training games, and evaluations during training."""

from __future__ import annotations

from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from custom.runs.folder import EVALUATIONS_FILE, GAMES_FILE, Run
from custom.system.errors import UserError


def training_games(run: Run) -> pd.DataFrame:
    """Steps, frames and raw score of every finished game of the training.

    Empty without the file, which the zoo's agents from the Hub do not have.

    :raises UserError: the file is damaged
    """
    file, columns = run.path / GAMES_FILE, ["steps", "frames", "score"]
    try:
        if not file.is_file() or not file.stat().st_size:
            return pd.DataFrame(columns=columns, dtype=float)
        return pd.read_csv(file)[columns].astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None


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
    except (OSError, ValueError, KeyError, EOFError, AttributeError, BadZipFile) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None
