"""Resume an interrupted training from the newest state that it saved."""

import shlex
import shutil
from dataclasses import asdict
from typing import IO

import torch as th

from custom.learner.engine import Engine
from custom.recipe.recipe import Recipe
from custom.runs.folder import Run, open_run
from custom.runs.provenance import provenance
from custom.system.console import say
from custom.system.errors import UserError, one_line
from custom.system.files import remove_partial
from custom.system.manifest import NEWEST, exists
from custom.tracking.wish import tracking
from custom.training.prepare import Training, make_model, make_training
from custom.training.saved_state import load_state
from custom.training.settings import Settings, fitted

PATIENCE = 300.0  # seconds to wait for a process that saves its state before it ends


def resume(run: Run, device: str = "auto") -> Training:
    """Load an interrupted training; it resumes exactly where its state was saved.

    Games, evaluations and agents that are newer than the saved state are deleted. PyTorch gets as
    many threads as the run began with: with another number, sums are rounded in another order.

    :raises UserError: the run is finished, is being trained or cannot be loaded
    """
    if run.is_locked():
        say(f"waits up to {PATIENCE:.0f} s for the process that trains {run.path}")
    lock = run.lock(PATIENCE)
    try:
        run = open_run(run.path)  # another process may have changed it meanwhile
        _check(run)
        remove_partial(run.path)
        training = _load(run, lock, _settings(run, device))
    except BaseException as error:
        lock.close()
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        reason = one_line(error)[:300]  # whatever PyTorch, NumPy and the disk say
        raise UserError(f"RUN {run.saved_state}: cannot be resumed ({reason})") from None
    facts, entry = run.facts, {"steps": training.model.num_timesteps, **provenance()}
    for name in ("error", "finished"):
        facts.pop(name, None)
    if entry["versions"] != facts["versions"]:
        say("packages have changed since the run began: it may not be bit for bit the same run")
    del entry["command"]  # only the first command is kept: this one has paths of this machine
    run.update(state="running", resumed=[*facts.get("resumed", []), entry])
    return training


def saved_at(run: Run) -> float:
    """When the state was saved, in seconds since 1970; 0 while it is being replaced."""
    file = run.saved_state / NEWEST
    return file.stat().st_mtime if file.is_file() else 0.0


def is_run_of(run: Run, recipe: Recipe, settings: Settings) -> bool:
    """Whether a run has the recipe, the seed, the engine and the evaluations of a planned one.

    :param recipe: after `fitted`
    """
    facts, only_faster = run.facts, {"threads": 0, "workers": 0}
    return (
        "parent" not in facts
        and run.hyperparams == recipe.hyperparams
        and facts["seed"] == settings.seed
        and facts.get("engine", {}) | only_faster == asdict(settings.engine) | only_faster
        and facts.get("eval_protocol", {}).get("episodes") == settings.eval_episodes
        and facts.get("eval_freq") == settings.eval_freq
    )


def _check(run: Run) -> None:
    if run.facts.get("state") == "finished":
        shutil.rmtree(run.saved_state, ignore_errors=True)  # it was killed while it did so
        command = f"make train FROM={shlex.quote(str(run.path))} STEPS=..."
        raise UserError(f"RUN {run.path}: is finished; {command} trains it further, in a new run")
    if not exists(run.saved_state):
        raise UserError(f"RUN {run.path}: has no saved state; train anew")


def _load(run: Run, lock: IO[str], settings: Settings) -> Training:
    if settings.engine.threads:
        th.set_num_threads(settings.engine.threads)
    recipe = fitted(run.recipe, settings.engine)
    model = make_model(recipe, run, settings, resumes=True)
    try:
        saved = load_state(model, run)
        run.final_model.unlink(missing_ok=True)
        return make_training(recipe, run, lock, model, settings, saved)
    except BaseException:
        assert model.env is not None
        model.env.close()
        raise


def _settings(run: Run, device: str) -> Settings:
    facts = run.facts
    return Settings(
        seed=facts["seed"],
        device=device,
        eval_freq=facts["eval_freq"],
        eval_episodes=facts["eval_protocol"]["episodes"],
        save_freq=facts["save_freq"],
        tracking=tracking(**facts["tracking"]),
        engine=Engine(**facts["engine"]),
    )
