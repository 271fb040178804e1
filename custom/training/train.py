"""From a prepared training to a finished run folder, whatever happens in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from custom.evaluation.protocol import Protocol
from custom.runs.agents import save_agent
from custom.runs.folder import Run
from custom.runs.provenance import now
from custom.system.console import say
from custom.system.errors import UserError
from custom.system.files import is_there, remove
from custom.system.signals import SIGNAL_STATUS, end_on_signals, interrupted, stopping_on_signals
from custom.training.callbacks import StopTraining
from custom.training.prepare import Training


def train(training: Training, report_episodes: int = 0) -> int:
    """Learn, save, report; the last line printed names the run folder.

    :param report_episodes: games of the final evaluation; 0: no evaluation, film and curve
    :return: exit status: 0, or 128 + the signal that ended it
    :raises NonFiniteError: the NaN guard ended it; checkpoints stay
    """
    with training.lock:
        return _train(training, report_episodes)


def _train(training: Training, report_episodes: int) -> int:
    run, model = training.run, training.model
    with stopping_on_signals(training.status.request_stop) as received:
        try:
            say("training; Ctrl-C stops it and saves the agent")
            _learn(training)
            save_agent(model, run.final_model)
        except BaseException as error:
            _fail(training, error)
            _end_tracking(training, 1)
            if isinstance(error, UserError | OSError):
                kind = type(error) if isinstance(error, UserError) else UserError
                raise kind(f"{error}. {_last_good(run)}") from None
            raise
        _end(training)
    if report_episodes and not received:
        report(run, report_episodes, str(model.device))
    status = SIGNAL_STATUS + received[0] if received else 0
    _end_tracking(training, status, bool(received))
    say(f"Run: {run.path}")
    return status


def _learn(training: Training) -> None:
    """Learn to the budget's end, or until a stop is requested."""
    model, total = training.model, training.recipe.n_timesteps
    assert model.env is not None
    try:
        with contextlib.suppress(StopTraining):
            if model.num_timesteps:
                model.learn_on(total, list(training.callbacks))
            else:
                model.learn(total, list(training.callbacks))
    finally:
        model.env.close()
    _end_callbacks(training)


def _end(training: Training) -> None:
    """Write down how far it came, and say how to resume."""
    run, model = training.run, training.model
    whole = model.num_timesteps >= run.facts["n_timesteps"]
    whole = whole and not training.status.evaluation_cut_short  # the last one, say
    state = "finished" if whole else "interrupted"
    _close(training, state)
    say(f"{state} after {model.num_timesteps:,} steps; the agent is in {run.final_model}")
    if whole:
        remove(run.saved_state)
    elif is_there(run.saved_state):
        say(f"make resume RUN={run.path} resumes it")


def _end_callbacks(training: Training) -> None:
    """SB3 ends them where a training reaches its budget; after an error nobody does."""
    for callback in training.callbacks:
        callback.on_training_end()


def _end_tracking(training: Training, exit_code: int, was_stopped: bool = False) -> None:
    """Upload what is left; where the training was stopped, one more signal ends that."""
    if training.tracker is None:
        return
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        if was_stopped:
            end_on_signals()
        training.tracker.finish(exit_code)


def _fail(training: Training, error: BaseException) -> None:
    """Leave a run folder that says what happened, whatever else goes wrong."""
    with contextlib.suppress(Exception):
        _end_callbacks(training)
    with contextlib.suppress(OSError):
        _close(training, "failed", error=" ".join(str(error).split()))


def _close(training: Training, state: str, **facts: str) -> None:
    times = training.status.clock.facts()
    steps = training.model.num_timesteps
    training.run.update(state=state, steps=steps, finished=now(), **times, **facts)


def _last_good(run: Run) -> str:
    checkpoints = run.checkpoints()
    if not checkpoints:
        return f"No checkpoint had been written yet. Run: {run.path}"
    good = f"The last good agent is {checkpoints[-1]}."
    if is_there(run.saved_state):
        return f"{good} make resume RUN={run.path} resumes the run"
    return f"{good} Run: {run.path}"


def report(run: Run, episodes: int, device: str) -> None:
    """Evaluate, film and plot; what goes wrong here is told and does not spoil the run."""

    # What these import is not needed to train: a machine without it trains all the same.
    def evaluate() -> None:
        from custom.evaluation.results import evaluate_run, score_table

        result = evaluate_run(run, Protocol(episodes=episodes), run.final_model, device)
        say(score_table(run, result))

    def record() -> None:
        from custom.evaluation.film import record_run

        record_run(run, run.final_model, device=device)

    def plot() -> None:
        from custom.evaluation.plot import plot_run

        plot_run(run)

    try:
        say(f"evaluating over {episodes} full games, filming one and plotting (Ctrl-C skips it)")
        for part in (evaluate, record, plot):
            _try(part)
            if interrupted():
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        say("report skipped; make evaluate, make record and make plot do it later")


def _try(part: Callable[[], None]) -> None:
    try:
        part()
    except Exception as error:  # a film is not worth a lost run
        reason = " ".join(str(error).split())
        say(f"no report of make {part.__name__} ({reason}); that command does it later")
