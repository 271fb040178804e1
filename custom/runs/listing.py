"""`make runs`: the runs of this machine, how far they are and what they score."""

from pathlib import Path

import numpy as np

from custom.runs.folder import Run, open_runs
from custom.runs.metrics import evaluations, finished_games
from custom.system.errors import UserError
from custom.system.manifest import exists

HEAD = ("run", "seed", "steps", "last score", "best", "state")
Row = tuple[str, ...]  # text for each column of `HEAD`


def rows_of(
    logs: Path, game: str = "", recipe: str = ""
) -> tuple[list[tuple[Run, Row]], list[str]]:
    """Every run below a folder with its row, the newest last; a line for each failed or damaged.

    :param game: environment id; empty: any
    :param recipe: name; empty: any
    """
    runs, damaged = open_runs(logs, game, recipe)
    rows, problems = [], [f"left out: {text}" for text in damaged.values()]
    for run in sorted(runs, key=lambda run: str(run.facts.get("started", ""))):
        try:
            rows.append((run, row_of(run, logs)))
        except (UserError, OverflowError) as error:  # a number of 400 digits
            problems.append(f"left out: {run.path}: {error}")
        if state_of(run) == "failed":
            reason = run.facts.get("error") or "its process ended unexpectedly"
            problems.append(f"{run.path}: {reason}")
    return rows, problems


def row_of(run: Run, logs: Path) -> Row:
    """A run's row; of an unfinished run, its steps are those at its last game or evaluation.

    :raises UserError: a file in it is damaged
    """
    done, evaluated, last, best = finished_games(run)["steps"], evaluations(run), "-", "-"
    if evaluated is not None and evaluated["results"].size:
        done = np.append(done, evaluated["timesteps"])
        results, means = evaluated["results"], evaluated["results"].mean(axis=1)
        last, best = f"{means[-1]:.1f} ± {results[-1].std():.1f}", f"{means.max():.1f}"
    steps = max([run.facts.get("steps", 0), *done.tolist()])
    budget, state = run.facts.get("n_timesteps"), state_of(run)
    return (
        str(logs / run.path.relative_to(logs.absolute())),
        str(run.facts["seed"]),
        short(steps) + (f" of {short(budget)}" if budget else ""),
        last,
        best,
        f"{state}, can be resumed" if can_resume(run) else state,
    )


def short(steps: int) -> str:
    """Steps with three digits: 950, 20k, 1.25M."""
    unit, size = next(((u, s) for u, s in (("M", 10**6), ("k", 1000)) if steps >= s), ("", 1))
    return f"{steps / size:.3g}{unit}"


def can_resume(run: Run) -> bool:
    """Whether a run was interrupted and has a saved state."""
    return state_of(run) in ("interrupted", "failed") and exists(run.saved_state)


def state_of(run: Run) -> str:
    """``running``, ``finished``, ``interrupted``, ``failed``, or ``pulled``.

    A killed process leaves ``running`` in run.json, but it no longer holds the run's lock.
    """
    state = str(run.facts.get("state", "unknown"))
    return "failed" if state == "running" and not run.is_locked() else state
