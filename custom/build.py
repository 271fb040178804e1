"""A recipe made into an experiment and a model that are ready to learn."""

from __future__ import annotations

import contextlib
import copy
import io
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from stable_baselines3.common.base_class import BaseAlgorithm

from custom.dqn import AtariDQN
from custom.envs import training_games
from custom.errors import UserError
from custom.experiment import Experiment
from custom.qrdqn import AtariQRDQN
from custom.recipe.classes import policy_class, resolve
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.runs import Run
from custom.settings import Settings

TINY = {"batch_size": 4, "learning_starts": 4, "train_freq": 1, "gradient_steps": 1}
TRIED_STEPS = 8
NOT_THE_LEARNERS = ("env_kwargs", "env_wrapper", "frame_stack", "n_envs", "n_timesteps")


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
    if resumed is None:
        try_out(recipe, game, settings)
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
        raise


def try_out(recipe: Recipe, game: Game, settings: Settings) -> None:
    """Play and learn a few steps with a tiny replay, before anything is written.

    :raises UserError: something fails; it names the file, the game and the key
    """
    values, where = resolve(recipe.hyperparams), f"{recipe.file}: {game.env_id}: "
    try:
        env = training_games(game, recipe.hyperparams, 1, settings.seed, workers=1)
    except Exception as error:  # whatever wrappers and the emulator raise
        raise UserError(f"{where}env_wrapper: {_said(error)}") from error
    values |= {"policy": policy_class(recipe.hyperparams), **TINY}
    values["buffer_size"] = TRIED_STEPS + recipe.hyperparams.n_steps
    if isinstance(recipe.hyperparams.learning_rate, str):
        del values["learning_rate"]
    learner = {key: value for key, value in values.items() if key not in NOT_THE_LEARNERS}

    def learn(arguments: dict[str, Any]) -> None:
        cls = AtariDQN if recipe.algo == "dqn" else AtariQRDQN
        model = cls(env=env, **arguments, device=settings.device, engine=settings.engine)
        model.learn(TRIED_STEPS)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            learn(copy.deepcopy(learner))
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever SB3 and PyTorch raise
        key = next((key for key, others in _without_one(learner) if _works(learn, others)), "")
        raise UserError(f"{where}{key or 'these values'}: {_said(error)}") from error
    finally:
        env.close()


def _without_one(values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key and the values without it, those of the policy one by one."""
    policy = values.get("policy_kwargs", {})
    for key in sorted(policy):
        both = (key, key.replace("_class", "_kwargs"))
        others = {k: v for k, v in policy.items() if k not in both}
        yield f"policy_kwargs.{key}", values | {"policy_kwargs": others}
    for key in sorted(values.keys() - TINY.keys() - {"buffer_size", "policy"}):
        yield key, {k: v for k, v in values.items() if k != key}


def _works(learn: Callable[[dict[str, Any]], None], values: dict[str, Any]) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            learn(copy.deepcopy(values))
    except Exception:  # whatever SB3 and PyTorch raise
        return False
    return True


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _remove(folder: Path) -> None:
    """Remove a run folder, and the folders above it that are empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
