"""Run a prepared training: learn, save, report; record the outcome also if it fails."""

import contextlib
import shlex
import shutil
from collections.abc import Callable

from custom.evaluation.protocol import Protocol
from custom.runs.agents import save_agent
from custom.runs.folder import Run
from custom.runs.provenance import now
from custom.system.console import say
from custom.system.errors import UserError, one_line
from custom.system.files import sync
from custom.system.manifest import exists
from custom.system.signals import SIGNAL_STATUS, end_on_signals, interrupted, stopping_on_signals
from custom.training.callbacks import StopTraining
from custom.training.prepare import Training


def train(training: Training, report_episodes: int = 0) -> int:
    """Learn, save the agent, report; the last line printed names the run folder.

    :param report_episodes: full games of the final evaluation; 0: no evaluation, film or curve
    :return: exit status: 0, or 128 + the signal that stopped the training
    :raises NonFiniteError: an update was not finite; checkpoints stay
    """
    run, model = training.run, training.model
    with training.lock:
        with stopping_on_signals(training.status.request_stop) as received:
            try:
                then = "make resume resumes it" if training.is_saved else "it cannot be resumed"
                say(f"training; Ctrl-C stops it and saves the agent; {then}")
                _learn(training)
                save_agent(model, run.final_model)
            except BaseException as error:
                with contextlib.suppress(OSError):
                    _record(training, "failed", error=one_line(error))
                _end_tracking(training, 1)
                if isinstance(error, UserError | OSError):
                    kind = type(error) if isinstance(error, UserError) else UserError
                    *_, last = "none", *run.checkpoints()
                    said = f"{error}. Last checkpoint: {last}; {_how_to_resume(run)}"
                    raise kind(said) from None
                raise
            _end(training)
        status = SIGNAL_STATUS + received[0] if received else 0
        try:
            if report_episodes and not received:
                report(run, report_episodes, str(model.device))
        finally:  # a signal may end the report
            _end_tracking(training, status, bool(received))
    say(f"Run: {run.path}")
    return status


def _learn(training: Training) -> None:
    """Learn until the budget is used up or a stop is requested."""
    model, total, callbacks = training.model, training.recipe.n_timesteps, [*training.callbacks]
    assert model.env is not None
    try:
        with contextlib.suppress(StopTraining):
            if model._last_obs is not None:  # a state was loaded
                model.continue_learning(total, callbacks)
            else:
                model.learn(total, callbacks)
    finally:
        model.env.close()
        for callback in callbacks:  # SB3 ends them only if the budget is used up
            callback.on_training_end()


def _end(training: Training) -> None:
    """Record whether the run is finished or interrupted, and print how to resume it."""
    run, steps = training.run, training.model.num_timesteps
    was_cut_short = training.status.evaluation_cut_short
    is_finished = steps >= training.recipe.n_timesteps and not was_cut_short
    state = "finished" if is_finished else "interrupted"
    for file in run.path.glob("*.csv"):  # before the saved state, which has copies, is deleted
        sync(file)
    _record(training, state)
    if is_finished:
        shutil.rmtree(run.saved_state, ignore_errors=True)
    say(f"{state} after {steps:,} steps; the agent is in {run.final_model}")
    if not is_finished:
        say(_how_to_resume(run))


def _end_tracking(training: Training, exit_code: int, was_stopped: bool = False) -> None:
    """Upload the remaining rows; if the training was stopped, another signal stops the upload."""
    if training.tracker is None:
        return
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        if was_stopped:
            end_on_signals()
        training.tracker.finish(exit_code)


def _record(training: Training, state: str, **facts: str) -> None:
    times = training.status.clock.facts()
    steps = training.model.num_timesteps
    training.run.update(state=state, steps=steps, finished=now(), **times, **facts)


def _how_to_resume(run: Run) -> str:
    if exists(run.saved_state):
        return f"make resume RUN={shlex.quote(str(run.path))} resumes it"
    return "it cannot be resumed: its state was not saved"


def report(run: Run, episodes: int, device: str) -> None:
    """Evaluate, film and plot; an error is printed, and the run stays finished."""
    try:
        say(f"evaluating (full games: {episodes}), filming, plotting; Ctrl-C skips it")
        # Imported here, because training does not need these packages.
        from custom.evaluation.film import record_run
        from custom.evaluation.plot import plot_run
        from custom.evaluation.results import evaluate_run, score_table

        agent, protocol = run.final_model, Protocol(episodes=episodes)
        parts: dict[str, Callable[[], object]] = {
            "evaluate": lambda: say(score_table(run, evaluate_run(run, protocol, agent, device))),
            "record": lambda: record_run(run, agent, device=device),
            "plot": lambda: plot_run(run),
        }
        for name, part in parts.items():
            if interrupted():  # and an import swallowed the exception
                raise KeyboardInterrupt
            try:
                part()
            except Exception as error:  # the run stays finished without a film
                say(f"{name} failed ({one_line(error)}); make {name} does it later")
    except KeyboardInterrupt:
        say("report skipped; make evaluate, make record and make plot do it later")
