"""`make runs`: the runs of this machine, how far they are and what they score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from custom.runs.folder import Run, open_runs
from custom.runs.metrics import evaluations, finished_games
from custom.system.errors import UserError
from custom.system.manifest import exists

HEAD = ("run", "seed", "steps", "last score", "best", "state")


@dataclass(frozen=True)
class Line:
    """One run.

    :param steps: done; of an unfinished run, those at its last game or evaluation
    :param last: mean and standard deviation of its last evaluation
    :param best: mean of its best evaluation
    """

    run: Run
    state: str
    steps: int
    last: tuple[float, float] | None
    best: float | None

    @property
    def problem(self) -> str:
        """Why it failed; empty: it did not."""
        error = self.run.facts.get("error") or "its process ended unexpectedly"
        return f"{self.run.path}: {error}" if self.state == "failed" else ""

    def cells(self, logs: Path) -> tuple[str, ...]:
        """Text for each column of `HEAD`."""
        budget = self.run.facts.get("n_timesteps")
        of = f"/{short(budget)}" if isinstance(budget, int) else ""
        return (
            str(logs / self.run.path.relative_to(logs.resolve())),
            str(self.run.facts["seed"]),
            f"{short(self.steps)}{of}",
            "-" if self.last is None else f"{self.last[0]:.1f} ± {self.last[1]:.1f}",
            "-" if self.best is None else f"{self.best:.1f}",
            f"{self.state}, can be resumed" if can_resume(self.run) else self.state,
        )


def all_runs(logs: Path, game: str = "", recipe: str = "") -> tuple[list[Line], list[str]]:
    """Every run below a folder, the newest last; and one line for each damaged run folder.

    :param game: environment id; empty: any
    :param recipe: name; empty: any
    """
    runs, refused = open_runs(logs, game, recipe)
    lines, damaged = [], list(refused.values())
    for run in sorted(runs, key=lambda run: str(run.facts.get("started", ""))):
        try:
            lines.append(line_of(run))
        except UserError as error:
            damaged.append(str(error))
    return lines, sorted(damaged)


def line_of(run: Run) -> Line:
    """A run's line.

    :raises UserError: a file in it is damaged
    """
    done, evaluated, last, best = finished_games(run)["steps"], evaluations(run), None, None
    if evaluated is not None and evaluated["results"].size:
        done = np.append(done, evaluated["timesteps"])
        means = evaluated["results"].mean(axis=1)
        last, best = (float(means[-1]), float(evaluated["results"][-1].std())), float(means.max())
    try:
        steps = int(max([run.facts.get("steps", 0), *done]))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"RUN {run.path}: its steps are damaged ({error})") from None
    return Line(run, state_of(run), steps, last, best)


def can_resume(run: Run) -> bool:
    """Whether a run was interrupted and has a saved state."""
    return state_of(run) in ("interrupted", "failed") and exists(run.saved_state)


def state_of(run: Run) -> str:
    """``running``, ``finished``, ``interrupted``, ``failed``, or ``pulled``.

    A killed process leaves ``running`` in run.json, but it no longer holds the run's lock.
    """
    state = str(run.facts.get("state", "unknown"))
    return "failed" if state == "running" and not run.is_locked() else state


def short(steps: int) -> str:
    """Steps with three digits: 950, 20k, 1.25M."""
    for unit, size in (("M", 10**6), ("k", 1000)):
        if steps >= size:
            return f"{steps / size:.3g}{unit}"
    return str(steps)
