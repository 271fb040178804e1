"""From a ready experiment to a finished run folder, whatever happens in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from stable_baselines3.common.base_class import BaseAlgorithm

from custom.atomic import is_there, remove
from custom.console import say
from custom.errors import UserError
from custom.evaluation import Protocol
from custom.experiment import Experiment
from custom.provenance import now
from custom.runs import Run
from custom.signals import SIGNAL_STATUS, came, end_on_signals, stopping_on_signals


def train(experiment: Experiment, model: BaseAlgorithm, report_episodes: int = 0) -> int:
    """Learn, save, report; the last line printed names the run folder.

    :param report_episodes: games of the final evaluation; 0: no evaluation, film and curve
    :return: exit status: 0, or 128 + the signal that ended it
    :raises NonFiniteError: the NaN guard ended it; checkpoints stay
    """
    assert experiment.lock is not None
    with experiment.lock:
        return _train(experiment, model, report_episodes)


def _train(experiment: Experiment, model: BaseAlgorithm, report_episodes: int) -> int:
    run = experiment.run
    assert run is not None
    with stopping_on_signals(experiment.stop) as received:
        try:
            say("training; Ctrl-C stops it and saves the agent")
            experiment.learn(model)
            _end_callbacks(experiment)
            experiment.save_trained_model(model)
        except BaseException as error:
            _fail(experiment, run, model, error)
            _end_tracking(experiment, 1)
            if isinstance(error, UserError | OSError):
                kind = type(error) if isinstance(error, UserError) else UserError
                raise kind(f"{error}. {_last_good(run)}") from None
            raise
        _end(experiment, run, model)
    if report_episodes and not received:
        report(run, report_episodes, str(model.device))
    status = SIGNAL_STATUS + received[0] if received else 0
    _end_tracking(experiment, status, bool(received))
    say(f"Run: {run.path}")
    return status


def _end(experiment: Experiment, run: Run, model: BaseAlgorithm) -> None:
    """Write down how far it came, and say how to go on."""
    assert experiment.evaluation is not None
    whole = model.num_timesteps >= run.facts["n_timesteps"]
    whole = whole and not experiment.evaluation.was_broken_off  # the last one, say
    state = "finished" if whole else "interrupted"
    _close(experiment, run, model, state)
    say(f"{state} after {model.num_timesteps:,} steps; the agent is in {run.final_model}")
    if whole:
        remove(run.saved_state)
    elif is_there(run.saved_state):
        say(f"make resume RUN={run.path} goes on")


def _end_callbacks(experiment: Experiment) -> None:
    """SB3 ends them where a training ends by itself; where it was broken off, nobody does."""
    for callback in experiment.callbacks:
        callback.on_training_end()


def _end_tracking(experiment: Experiment, exit_code: int, was_stopped: bool = False) -> None:
    """Upload what is left; where the training was stopped, one more signal breaks that off."""
    if experiment.tracker is None:
        return
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        if was_stopped:
            end_on_signals()
        experiment.tracker.finish(exit_code)


def _fail(experiment: Experiment, run: Run, model: BaseAlgorithm, error: BaseException) -> None:
    """Leave a run folder that says what happened, whatever else goes wrong."""
    with contextlib.suppress(Exception):
        _end_callbacks(experiment)
    with contextlib.suppress(OSError):
        _close(experiment, run, model, "failed", error=" ".join(str(error).split()))


def _close(
    experiment: Experiment, run: Run, model: BaseAlgorithm, state: str, **facts: str
) -> None:
    run.update(
        state=state,
        steps=model.num_timesteps,
        finished=now(),
        **experiment.clock.facts(),
        **facts,
    )


def _last_good(run: Run) -> str:
    checkpoints = run.checkpoints()
    if not checkpoints:
        return f"No checkpoint had been written yet. Run: {run.path}"
    good = f"The last good agent is {checkpoints[-1]}."
    if is_there(run.saved_state):
        return f"{good} make resume RUN={run.path} goes on"
    return f"{good} Run: {run.path}"


def report(run: Run, episodes: int, device: str) -> None:
    """Evaluate, film and plot; what goes wrong here is told and does not spoil the run."""

    # What these import is not needed to train: a machine without it trains all the same.
    def evaluate() -> None:
        from custom.results import evaluate_run, score_table

        result = evaluate_run(run, Protocol(episodes=episodes), run.final_model, device)
        say(score_table(run, result))

    def record() -> None:
        from custom.video import record_run

        record_run(run, run.final_model, device=device)

    def plot() -> None:
        from custom.report import plot_run

        plot_run(run)

    try:
        say(f"evaluating over {episodes} full games, filming one and plotting (Ctrl-C skips it)")
        for part in (evaluate, record, plot):
            _try(part)
            if came():
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        say("report skipped; make evaluate, make record and make plot do it later")


def _try(part: Callable[[], None]) -> None:
    try:
        part()
    except Exception as error:  # a film is not worth a lost run
        reason = " ".join(str(error).split())
        say(f"no report of make {part.__name__} ({reason}); that command does it later")
