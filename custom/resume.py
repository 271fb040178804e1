"""Going on with a training that was broken off, from the state that it saved with a checkpoint."""

from __future__ import annotations

import shutil

from custom.atomic import restore
from custom.build import build
from custom.callbacks import GameRecord, PeriodicCallback
from custom.engine import Engine
from custom.errors import UserError
from custom.experiment import Experiment
from custom.off_policy import AtariOffPolicy
from custom.overview import state_of
from custom.provenance import now
from custom.recipes import Recipe
from custom.runs import Run, open_run
from custom.saved_state import BEST, load_state
from custom.settings import Settings

PATIENCE = 300.0  # seconds in which a process that was told to end saves what it has


def resume(run: Run, device: str = "auto") -> tuple[Experiment, AtariOffPolicy]:
    """A broken-off training, ready to go on as if it had never been; `train` does.

    What is newer than the saved state (games, evaluations, agents) is dropped: it comes again.

    :param run: trained with `Settings.save_state`
    :raises UserError: it is finished, is being trained, or holds no state that can be read
    """
    lock = run.lock(PATIENCE)
    try:
        run = open_run(run.path)  # another process may have been at it meanwhile
        if not can_go_on(run):
            reason = "is finished" if state_of(run) == "finished" else "holds no saved state"
            raise UserError(f"RUN {run.path}: {reason}; make train with --save-state keeps one")
        experiment, model = build(_recipe(run), run.game, _settings(run, device), (run, lock))
        assert isinstance(model, AtariOffPolicy)
        assert model.env is not None
        try:
            saved = load_state(model, run.saved_state)
        except ValueError as error:
            model.env.close()
            raise UserError(f"RUN {error}; make train begins anew") from None
        assert experiment.saver is not None
        experiment.saver.seconds_before = saved["seconds"]
        experiment.saver.random = saved["random"]
        _rewind(experiment, run, model.num_timesteps)
        goes_on = [*run.facts.get("resumed", []), {"steps": model.num_timesteps, "at": now()}]
        run.update(state="running", resumed=goes_on)
        return experiment, model
    except BaseException:
        lock.close()
        raise


def can_go_on(run: Run) -> bool:
    """Whether a run is not finished and has a state to go on from."""
    return state_of(run) != "finished" and restore(run.saved_state)


def _rewind(experiment: Experiment, run: Run, steps: int) -> None:
    for callback in experiment.callbacks:
        if isinstance(callback, GameRecord | PeriodicCallback):
            callback.rewind(steps)
    for name in (BEST, run.final_model.name):
        (run.path / name).unlink(missing_ok=True)
    if (run.saved_state / BEST).is_file():
        shutil.copyfile(run.saved_state / BEST, run.path / BEST)


def _recipe(run: Run) -> Recipe:
    facts = run.facts
    return Recipe(facts["recipe"], facts["algo"], run.path / "recipe.yml", run.hyperparams)


def _settings(run: Run, device: str) -> Settings:
    facts = run.facts
    return Settings(
        seed=facts["seed"],
        logs=run.path.parents[2],
        device=device,
        eval_freq=facts["eval_freq"],
        eval_episodes=facts["eval_protocol"]["episodes"],
        eval_epsilon=facts["eval_protocol"]["epsilon"],
        save_freq=facts["save_freq"],
        keep_checkpoints=facts["keep_checkpoints"],
        save_state=True,
        engine=Engine(**facts["engine"]),
    )
