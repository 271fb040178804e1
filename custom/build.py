"""A recipe made into an experiment and a model that are ready to learn."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path
from typing import IO

from stable_baselines3.common.base_class import BaseAlgorithm

from custom.errors import UserError
from custom.experiment import Experiment
from custom.games import Game
from custom.recipes import Recipe
from custom.runs import Run
from custom.settings import Settings


def build(
    recipe: Recipe,
    game: Game,
    settings: Settings,
    resumed: tuple[Run, IO[str]] | None = None,
) -> tuple[Experiment, BaseAlgorithm]:
    """An experiment and its model, ready to learn.

    :param resumed: as of `Experiment`
    :raises UserError: it cannot be had; no run folder is left behind
    """
    experiment = Experiment(recipe, game, settings, resumed)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the zoo prints regardless of verbose
            result = experiment.setup_experiment()
        assert result is not None
        return experiment, result[0]
    except BaseException as error:
        if experiment.folder:
            _remove(experiment.folder)
        if isinstance(error, MemoryError):
            reason = f"{recipe.file}: out of memory ({error}); lower buffer_size"
            raise UserError(reason) from None
        if isinstance(error, Exception) and not isinstance(error, UserError):
            # All that came in is the recipe: SB3, Gymnasium or PyTorch refuse a value of it.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{recipe.file}: these values are refused: {reason}") from error
        raise


def _remove(folder: Path) -> None:
    """Remove a run folder, and the folders above it that it leaves empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
