"""From a ready experiment to a finished run folder, whatever happens in between."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from stable_baselines3.common.base_class import BaseAlgorithm

from custom.callbacks import StopRequest
from custom.errors import UserError
from custom.evaluation import Protocol
from custom.experiment import Experiment
from custom.provenance import now
from custom.runs import Run

SIGNAL_STATUS = 128  # a shell reports an end by signal n as 128 + n


def train(experiment: Experiment, model: BaseAlgorithm, report_episodes: int = 0) -> int:
    """Learn, save, report; the last line printed names the run folder.

    :param report_episodes: games of the final evaluation; 0: no evaluation, film and curve
    :return: exit status: 0, or 128 + the signal that ended it
    :raises NonFiniteError: the NaN guard ended it; checkpoints stay
    """
    run = experiment.run
    assert run is not None
    started = time.monotonic()
    try:
        with stopping_on_signals(experiment.stop) as received:
            print("training; Ctrl-C stops it and saves the agent", flush=True)
            experiment.learn(model)
            experiment.save_trained_model(model)
    except BaseException as error:
        _close(run, model, started, "failed", error=" ".join(str(error).split()))
        if isinstance(error, UserError):
            raise type(error)(f"{error}. {_last_good(run)}") from None
        raise
    state = "interrupted" if received else "finished"
    _close(run, model, started, state)
    print(f"{state} after {model.num_timesteps:,} steps; the agent is in {run.final_model}")
    if report_episodes and not received:
        report(run, report_episodes)
    print(f"Run: {run.path}", flush=True)
    return SIGNAL_STATUS + received[0] if received else 0


@contextmanager
def stopping_on_signals(stop: StopRequest) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the training after the step at hand; a second one at once.

    :return: the signals that came
    """
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        stop.requested = True
        print("stopping after this step; the agent will be saved", flush=True)

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _close(run: Run, model: BaseAlgorithm, started: float, state: str, **facts: str) -> None:
    run.update(
        state=state,
        steps=model.num_timesteps,
        finished=now(),
        wall_clock_seconds=round(time.monotonic() - started, 1),
        **facts,
    )


def _last_good(run: Run) -> str:
    checkpoints = run.checkpoints()
    if not checkpoints:
        return f"No checkpoint had been written yet. Run: {run.path}"
    return f"The last good agent is {checkpoints[-1]}. Run: {run.path}"


def report(run: Run, episodes: int) -> None:
    """Evaluate, film and plot; what goes wrong here is told and does not spoil the run."""
    try:
        # Not needed to train: a machine without these packages trains all the same.
        from custom.report import plot_run
        from custom.results import evaluate_run, score_table
        from custom.video import record_run

        print(f"evaluating over {episodes} full games, filming one and plotting (Ctrl-C skips it)")
        print(score_table(run, evaluate_run(run, Protocol(episodes=episodes))))
        record_run(run)
        plot_run(run)
    except KeyboardInterrupt:
        print("report skipped; make evaluate, make record and make plot do it later")
    except (UserError, ImportError, OSError) as error:
        print(f"no report ({error}); make evaluate, make record and make plot do it later")
