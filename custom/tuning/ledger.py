"""Which trials of a study count, run, or have to be done again; all of it follows from the trials.

Whoever changes something here holds the study's lock (`storage.alone`), from the question to the
answer. A trial that is begun has its process written into it before the lock is given back: one
without it is dead. A trial that failed without a reason of its own is repeated by exactly one
later trial, which names it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

REPEATS = 2  # of a trial whose process was killed
GRACE = 120.0  # seconds without a sign of life until a trial of another machine is given on
# Attributes of a trial: who trains it, its signs of life and its run folder; why it failed, or that
# somebody stopped it; of a repeat: the trial before it, the first of them, how often it was killed.
PROCESS, BEAT, RUN = "process", "beat", "run"
REASON, STOPPED = "reason", "stopped"
REPEATED, ORIGINAL, DEATHS = "repeats", "original", "deaths"
FIXED = ("fixed_params",)  # Optuna's, of a trial that was enqueued


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    :param done: trials with a result: complete, pruned, or failed for reasons of their own
    :param running: trials that a process is at
    :param waiting: trials that wait for one
    """

    done: int
    running: int
    waiting: int


def progress(trials: list[FrozenTrial]) -> Progress:
    """How far a study is by its trials."""
    states = [trial.state for trial in trials]
    return Progress(
        len(results(trials)),
        states.count(TrialState.RUNNING),
        states.count(TrialState.WAITING),
    )


def results(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that count; of one that was done again only the last go can."""
    repeated = _repeated(trials)
    return [trial for trial in trials if trial.number not in repeated and _counts(trial)]


def _counts(trial: FrozenTrial) -> bool:
    if trial.state is TrialState.FAIL:
        return REASON in trial.user_attrs or deaths(trial) > REPEATS
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _repeated(trials: list[FrozenTrial]) -> set[int]:
    return {trial.user_attrs[REPEATED] for trial in trials if REPEATED in trial.user_attrs}


def deaths(trial: FrozenTrial) -> int:
    """How often a failed trial was killed, with the trials that it repeats."""
    before: int = trial.user_attrs.get(DEATHS, 0)
    return before + (STOPPED not in trial.user_attrs and REASON not in trial.user_attrs)


def original_of(trial: FrozenTrial, trials: list[FrozenTrial]) -> int:
    """A trial's place among those that repeat none, or that of the one that it repeats.

    All its seeds follow from it, so that they are the same however often something is killed.
    """
    if ORIGINAL in trial.user_attrs:
        return int(trial.user_attrs[ORIGINAL])
    return sum(REPEATED not in t.user_attrs for t in trials if t.number < trial.number)


def folders_of(number: int, trials: list[FrozenTrial]) -> list[Path]:
    """Run folders of a trial and of those that it repeats, as far as they are of this machine."""
    found: list[Path] = []
    following: int | None = number
    while following is not None:
        attributes = trials[following].user_attrs
        if RUN in attributes and attributes.get(PROCESS, ("",))[0] == machine():
            found.append(Path(attributes[RUN]))
        following = attributes.get(REPEATED)
    return found


def next_original(trials: list[FrozenTrial]) -> int:
    """The place of the trial that is asked for next."""
    waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
    if waiting:
        return original_of(waiting[0], trials)
    return sum(REPEATED not in trial.user_attrs for trial in trials)


def settle(study: optuna.Study, silent: Collection[int] = ()) -> None:
    """End the trials of the dead and line up what has to be done again; under the lock.

    :param silent: trials of other machines that gave no sign of life for `GRACE` seconds
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number in silent or has_gone(trial):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    trials = study.get_trials(deepcopy=False)
    repeated = _repeated(trials)
    for trial in trials:
        is_left = trial.state is TrialState.FAIL and trial.number not in repeated
        if is_left and not _counts(trial):
            attributes = {
                REPEATED: trial.number,
                ORIGINAL: original_of(trial, trials),
                DEATHS: deaths(trial),
            }
            study.add_trial(
                create_trial(
                    state=TrialState.WAITING,
                    params=trial.params,
                    distributions=trial.distributions,
                    user_attrs=attributes,
                    system_attrs={
                        k: trial.system_attrs[k] for k in FIXED if k in trial.system_attrs
                    },
                )
            )


def begin_process(trial: Trial) -> None:
    """Write this process into a trial that it has claimed."""
    me = os.getpid()
    trial.set_user_attr(PROCESS, (machine(), me, start_of(me)))


def has_gone(trial: FrozenTrial) -> bool:
    """Whether a running trial's process is known to have gone; asked under the lock."""
    if PROCESS not in trial.user_attrs:
        return True  # killed while it claimed the trial
    host, pid, began = trial.user_attrs[PROCESS]
    return bool(host == machine() and began != start_of(pid))


def machine() -> str:
    """This machine, or this container of it: processes of another one cannot be seen from here."""
    found = [socket.gethostname()]
    for path, read in (
        ("/proc/sys/kernel/random/boot_id", lambda p: Path(p).read_text().strip()),
        ("/proc/self/ns/pid", os.readlink),
    ):
        try:
            found.append(read(path))
        except OSError:  # a system without /proc
            found.append("")
    return "/".join(found)


def start_of(pid: int) -> str:
    """When a process began, by which it is told from a later one of the same number."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state == "Z" else rest[18]
    except OSError:
        return ""


@dataclass
class Watch:
    """Sees by its own clock which trials of other machines give no more signs of life."""

    _seen: dict[int, tuple[object, float]] = field(default_factory=dict)
    _looked: float = 0.0

    def silent(self, trials: list[FrozenTrial]) -> set[int]:
        """Trials that have been silent for `GRACE` seconds; nothing is known after a pause."""
        now = time.monotonic()
        if now - self._looked > GRACE / 4:  # neither they nor we may have reached the storage
            self._seen.clear()
        self._looked = now
        found = set()
        for trial in trials:
            if trial.state is TrialState.RUNNING:
                beat = trial.user_attrs.get(BEAT)
                before, since = self._seen.setdefault(trial.number, (beat, now))
                if before != beat:
                    self._seen[trial.number] = beat, now
                elif now - since > GRACE and not _is_here(trial):
                    found.add(trial.number)
        return found


def _is_here(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get(PROCESS, ("",))[0] == machine())


def reason_of(trial: FrozenTrial) -> str:
    """Why a trial failed."""
    stopped = "it was stopped" if STOPPED in trial.user_attrs else ""
    return str(trial.user_attrs.get(REASON) or stopped or "its process ended before it did")
