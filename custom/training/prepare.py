"""Prepare a training: check the recipe, claim a run folder, make the model and its callbacks."""

import contextlib
import copy
import shutil
import warnings
from dataclasses import asdict, dataclass
from typing import IO, Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from custom.env.games import frame_skip, make_games
from custom.evaluation.protocol import Protocol
from custom.learner.dqn import AtariDQN, AtariQRDQN
from custom.learner.off_policy import AtariOffPolicy
from custom.recipe.classes import resolve
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.replay.memory import check_replay, replay_size
from custom.runs.folder import Run, claim_folder
from custom.runs.provenance import provenance
from custom.runs.zoo_files import write_zoo_files
from custom.system.errors import UserError, one_line
from custom.system.files import atomic_file, write_json
from custom.tracking.tracker import Tracker
from custom.training.callbacks import Checkpoints, GameRecord, StopOnRequest
from custom.training.evaluation import FixedEpsilonEvaluation
from custom.training.further import inherit
from custom.training.progress import Progress
from custom.training.saved_state import StateSaver, can_be_saved
from custom.training.settings import Settings, fitted
from custom.training.status import Clock, Status

LEARNERS: dict[str, type[AtariOffPolicy]] = {"dqn": AtariDQN, "qrdqn": AtariQRDQN}
TINY = {"batch_size": 4, "learning_starts": 4, "train_freq": 1, "gradient_steps": 1}
TRIED_STEPS = 8  # of a recipe, before its run
NOT_FOR_THE_LEARNER = ("env_kwargs", "env_wrapper", "frame_stack", "n_envs", "n_timesteps")


@dataclass(frozen=True)
class Training:
    """A training that is ready to learn; `train` runs it.

    :param lock: file lock of the run folder, released when it is closed
    :param evaluation: one of `callbacks`
    :param tracker: one of `callbacks`; None: the run is not tracked
    :param is_saved: its state is saved, so that it can be resumed
    """

    recipe: Recipe
    run: Run
    lock: IO[str]
    model: AtariOffPolicy
    status: Status
    evaluation: FixedEpsilonEvaluation
    tracker: Tracker | None
    callbacks: tuple[BaseCallback, ...]
    is_saved: bool


def prepare(
    recipe: Recipe, game: Game, settings: Settings, parent: dict[str, Any] | None = None
) -> Training:
    """Try a recipe for a few steps, claim a run folder and make the training.

    :param recipe: with the budget of this run
    :param parent: the run that this one goes on from, from `further`
    :raises UserError: the recipe cannot be trained as asked, its replay does not fit into memory,
        or `logs` cannot be written; no run folder is left behind
    """
    recipe, settings = fitted(recipe, settings.engine), settings.resolved(recipe.n_timesteps)
    tried(recipe, game, settings, parent)
    folder = claim_folder(settings.logs / recipe.name / recipe.algo, game.folder_name)
    try:
        with atomic_file(folder / "recipe.yml", "w") as file:
            file.write(recipe.to_yaml(game.env_id))
        facts = _facts(recipe, game, settings)
        run = Run(folder, facts | {"parent": parent} if parent else facts)
        lock = run.lock()
        write_json(folder / "run.json", run.facts)
        write_zoo_files(run, folder / game.folder_name)
        model = make_model(recipe, run, settings)
        if parent:
            inherit(model, run)
        return make_training(recipe, run, lock, model, settings)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # others have runs there
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
        if isinstance(error, MemoryError):
            reason = f"{recipe.file}: out of memory ({error}); lower buffer_size"
            raise UserError(reason) from None
        raise


def tried(
    recipe: Recipe, game: Game, settings: Settings, parent: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Play and learn a few steps with a tiny replay, before anything is written.

    :return: arguments of the learner, without `buffer_size`
    :raises UserError: the recipe cannot be trained, or its replay does not fit into memory
    """
    values, engine = recipe.hyperparams, settings.engine
    if engine.threads:
        th.set_num_threads(engine.threads)
    part = "env_wrapper or env_kwargs"
    try:
        make_games(game, values, 1, settings.seed).close()  # as in evaluations
        env = make_games(game, values, 1, settings.seed, wrappers=values.env_wrapper)
        part = "cannot be trained"
        arguments = _learner_arguments(recipe)
        with contextlib.closing(env), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            space = env.observation_space
            assert isinstance(space, spaces.Box)
            frames, device = engine.buffer == "frames", settings.device
            check_replay(space, values, recipe.file, frames, device, parent)
            tiny = copy.deepcopy(arguments) | TINY | {"buffer_size": TRIED_STEPS + values.n_steps}
            make_learner(recipe, settings, env, tiny).learn(TRIED_STEPS)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever wrappers, the emulator, SB3 and PyTorch raise
        where = f"{recipe.file}: {game.env_id}: {part}"
        raise UserError(f"{where}: {one_line(error)}") from error
    return arguments


def make_model(
    recipe: Recipe, run: Run, settings: Settings, resumes: bool = False
) -> AtariOffPolicy:
    """The learner with its environments.

    :param resumes: append to the run's monitor file instead of starting a new one
    """
    values = recipe.hyperparams
    env = make_games(
        run.game,
        values,
        values.n_envs,
        settings.seed,
        workers=settings.engine.workers,
        wrappers=values.env_wrapper,
        monitor_dir=run.path,
        monitor_kwargs={"override_existing": not resumes},
    )
    arguments = _learner_arguments(recipe)
    arguments["buffer_size"] = replay_size(values, run.facts.get("parent"))
    arguments["tensorboard_log"] = str(run.path / "tensorboard")
    arguments |= {"acts_in_warm_up": "parent" in run.facts, "seed": settings.seed}
    return make_learner(recipe, settings, env, arguments)


def make_learner(
    recipe: Recipe, settings: Settings, env: VecEnv, arguments: dict[str, Any]
) -> AtariOffPolicy:
    """The learner of a recipe's algorithm, on the device and engine of the settings."""
    where: dict[str, Any] = {"device": settings.device, "engine": settings.engine}
    return LEARNERS[recipe.algo](env=env, **arguments, **where)


def _learner_arguments(recipe: Recipe) -> dict[str, Any]:
    """Arguments of the learner's constructor, from the recipe; without `buffer_size`."""
    values = resolve(recipe.hyperparams)
    rate = recipe.hyperparams.learning_rate
    if isinstance(rate, str):  # lin_RATE
        values["learning_rate"] = LinearSchedule(float(rate.removeprefix("lin_")), 0.0, 1.0)
    return {k: v for k, v in values.items() if k not in (*NOT_FOR_THE_LEARNER, "buffer_size")}


def make_training(
    recipe: Recipe,
    run: Run,
    lock: IO[str],
    model: AtariOffPolicy,
    settings: Settings,
    saved: dict[str, Any] | None = None,
) -> Training:
    """A training with its callbacks.

    :param saved: the state from which it resumes; None: a new run
    """
    status = Status(Clock(saved["clock"] if saved else None))
    saves = saved is not None or (settings.save_state and can_be_saved(model, run))
    evaluation = FixedEpsilonEvaluation(run, settings.eval_period, protocol_of(settings), status)
    tracker = None
    if settings.tracking.mode != "off":
        tracker = Tracker(run, settings.tracking, saved["rows"] if saved else 0)
    callbacks: list[BaseCallback] = [
        GameRecord(run),
        evaluation,
        Checkpoints(run, settings.save_freq),
        Progress(recipe.n_timesteps, evaluation),
    ]
    if saves:
        freq = min(settings.save_freq, settings.eval_period)  # a broken-off evaluation is repeated
        callbacks.append(StateSaver(run, freq, status, saved, tracker))
    callbacks += [tracker] if tracker else []
    callbacks.append(StopOnRequest(status))
    return Training(recipe, run, lock, model, status, evaluation, tracker, tuple(callbacks), saves)


def protocol_of(settings: Settings) -> Protocol:
    """The protocol of the evaluations during a training."""
    return Protocol(settings.eval_episodes, seed=settings.seed)


def _facts(recipe: Recipe, game: Game, settings: Settings) -> dict[str, Any]:
    """The first content of run.json."""
    return {
        "game": game.name,
        "env_id": game.env_id,
        "recipe": recipe.name,
        "recipe_digest": recipe.digest,
        "algo": recipe.algo,
        "seed": settings.seed,
        "n_timesteps": recipe.n_timesteps,
        "exploration_steps": recipe.exploration_steps,
        "notes": list(recipe.notes),
        "engine": asdict(settings.engine) | {"threads": th.get_num_threads()},
        "frame_skip": frame_skip(recipe.hyperparams),
        "eval_freq": settings.eval_freq,
        "save_freq": settings.save_freq,
        "eval_protocol": protocol_of(settings).describe(game, recipe.hyperparams),
        "steps": 0,
        "state": "running",
        "tracking": asdict(settings.tracking),
        **provenance(),
    }
