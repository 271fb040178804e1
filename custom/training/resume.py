"""Resume an interrupted training from the newest state that it saved."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from typing import IO

import torch as th

from custom.learner.engine import Engine
from custom.recipe.recipe import Recipe
from custom.runs.folder import Run, open_run
from custom.runs.provenance import provenance, versions_of
from custom.system.console import say
from custom.system.errors import StateError, UserError, one_line
from custom.system.files import remove_partial
from custom.system.manifest import NEWEST, exists
from custom.tracking.wish import tracking
from custom.training.callbacks import GameRecord, PeriodicCallback
from custom.training.prepare import Training, make_model, make_training
from custom.training.saved_state import MACHINE, load_state
from custom.training.settings import Settings, fitted
from custom.training.status import Clock, Status

PATIENCE = 300.0  # seconds to wait for a process that saves its state before it ends


def resume(run: Run, device: str = "auto", threads: int | None = None) -> Training:
    """Load an interrupted training; it resumes exactly where its state was saved.

    Games, evaluations and agents that are newer than the saved state are deleted.

    :param run: trained with `Settings.save_state`
    :param threads: CPU threads of PyTorch; None: as before. With another number, sums are rounded
        in another order: the run is not bit for bit the one without interruption
    :raises StateError: the state is damaged
    :raises UserError: the run is finished, is being trained or has no state, or the machine fails
    """
    lock = run.lock(PATIENCE)
    try:
        run = open_run(run.path)  # another process may have changed it meanwhile
        _check(run)
        remove_partial(run.path)
        training = _load(run, lock, _settings(run, device, threads))
    except BaseException as error:
        lock.close()
        if isinstance(error, MACHINE):
            message = (
                f"{_refusal(run, error)}; the state is unharmed: try again when that is mended"
            )
            raise UserError(message) from None
        raise
    run, facts, here = training.run, training.run.facts, provenance()
    for name in ("error", "finished"):
        facts.pop(name, None)
    threads, first_threads = th.get_num_threads(), facts["engine"].get("threads")
    earlier = [first_threads, *(entry.get("threads") for entry in facts.get("resumed", []))]
    if any(number not in (None, threads) for number in earlier):
        say(
            f"threads: {threads}, the run began with {first_threads}: with another number, it is"
            " not bit for bit the run without interruption"
        )
    if versions_of(here["packages"]) != versions_of(facts["packages"]):
        say("packages have changed since the run began: it may not be bit for bit the same run")
    here = {**here, "packages": versions_of(here["packages"])}
    del here["command"]  # only the first command is kept: this one has paths of this machine
    entry = {"steps": training.model.num_timesteps, "threads": threads, **here}
    resumed = [*facts.get("resumed", []), entry]
    run.update(state="running", resumed=resumed)
    return training


def saved_at(run: Run) -> float:
    """When the state was saved, in seconds since 1970; 0 while it is being replaced."""
    file = run.saved_state / NEWEST
    return file.stat().st_mtime if file.is_file() else 0.0


def is_run_of(run: Run, recipe: Recipe, settings: Settings) -> bool:
    """Whether a run has the recipe, the seed, the engine and the evaluations of a planned one.

    :param recipe: after `fitted`
    """
    facts = run.facts
    try:
        protocol = facts["eval_protocol"]
        return bool(
            "parent" not in facts
            and run.hyperparams == recipe.hyperparams
            and facts["seed"] == settings.seed
            and _comparable(Engine.recorded(facts["engine"])) == _comparable(settings.engine)
            and protocol["episodes"] == settings.eval_episodes
            and protocol["epsilon"] == settings.eval_epsilon
            and facts["eval_freq"] == settings.eval_freq
        )
    except (LookupError, TypeError):  # of an earlier version
        return False


def _comparable(engine: Engine) -> Engine:
    """The engine without settings that change only speed and rounding."""
    return replace(engine, threads=0, workers=0)


def _check(run: Run) -> None:
    if run.facts.get("state") == "finished":
        shutil.rmtree(run.saved_state, ignore_errors=True)  # it was killed while it did so
        command = f"make train FROM={shlex.quote(str(run.path))} STEPS=..."
        raise UserError(f"RUN {run.path}: is finished; {command} trains it further, in a new run")
    if not exists(run.saved_state):
        reason = "has no saved state (--save-state 0, or its replay buffer was too large)"
        if run.saved_state.exists():
            reason = "was interrupted before its first save, or by an earlier version"
        raise UserError(f"RUN {run.path}: {reason}; train anew")


def _load(run: Run, lock: IO[str], settings: Settings) -> Training:
    if settings.engine.threads:
        th.set_num_threads(settings.engine.threads)
    recipe = fitted(run.recipe, settings.engine)
    model = make_model(recipe, run, settings, resumes=True)
    try:
        saved = load_state(model, run)
        if saved.problem:
            say(f"the newest state is damaged ({saved.problem}): the one before it is taken")
        status = Status(Clock(saved.content["clock"]))
        training = make_training(recipe, run, lock, model, settings, status, saved)
        _rewind(training)
        return training
    except Exception as error:  # whatever torch and NumPy raise for damaged files
        if model.env is not None:
            model.env.close()
        is_missing = isinstance(error, FileNotFoundError)  # a file of the run
        if isinstance(error, (UserError, *MACHINE)) and not is_missing:
            raise
        if re.search("allocate memory|CUDA", str(error)):  # PyTorch has no class for these
            raise MemoryError(str(error)) from None
        raise StateError(f"{_refusal(run, error)}; train anew") from None


def _refusal(run: Run, error: BaseException) -> str:
    return f"RUN {run.saved_state}: cannot be resumed ({one_line(error)[:300]})"


def _rewind(training: Training) -> None:
    """Remove agents that are newer than the loaded state."""
    run, steps = training.run, training.model.num_timesteps
    for callback in training.callbacks:
        if isinstance(callback, GameRecord | PeriodicCallback):
            callback.rewind(steps)
    run.final_model.unlink(missing_ok=True)


def _settings(run: Run, device: str, threads: int | None) -> Settings:
    facts = run.facts
    engine = Engine.recorded(facts["engine"])
    return Settings(
        seed=facts["seed"],
        device=device,
        eval_freq=facts["eval_freq"],
        eval_episodes=facts["eval_protocol"]["episodes"],
        eval_epsilon=facts["eval_protocol"]["epsilon"],
        save_freq=facts["save_freq"],
        keep_checkpoints=facts["keep_checkpoints"],
        save_state=True,
        tracking=tracking(**{"mode": "off", **facts.get("tracking", {})}),
        engine=engine if threads is None else replace(engine, threads=threads),
    )
