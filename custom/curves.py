"""What a run's files say of its learning: finished training games, and evaluations."""

from __future__ import annotations

from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from custom.errors import UserError
from custom.runs import Run
from custom.training.callbacks import GAMES_FILE
from custom.training.evaluation import EVALUATIONS_FILE


def training_games(run: Run) -> pd.DataFrame:
    """Steps, frames and raw score of every finished game of the training.

    Empty where they were not written down: the zoo's agents from the Hub have no such file.

    :raises UserError: the file is damaged
    """
    file = run.path / GAMES_FILE
    if not file.is_file() or not file.stat().st_size:  # its first line is on its way
        none: pd.DataFrame = pd.DataFrame(columns=["steps", "frames", "score"], dtype=float)
        return none
    try:
        games = pd.read_csv(run.path / GAMES_FILE)
        numbers: pd.DataFrame = games[["steps", "frames", "score"]].astype(float)
        return numbers
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{run.path / GAMES_FILE}: cannot be read ({error})") from None


def evaluations(run: Run) -> dict[str, Any] | None:
    """The evaluations during a training, None where there was none.

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
