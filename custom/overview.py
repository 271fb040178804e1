"""`make runs`: the runs of this machine, how far they are and what they score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from custom.curves import evaluations, training_games
from custom.errors import UserError
from custom.runs import Run, open_runs


@dataclass(frozen=True)
class Line:
    """One run.

    :param steps: done; of a run that is not over, those at its last game or evaluation
    :param last: mean and standard deviation of its last evaluation
    :param best: mean of its best evaluation, and the steps at which that was
    """

    run: Run
    state: str
    steps: int
    last: tuple[float, float] | None
    best: tuple[float, int] | None


def all_runs(logs: Path, game: str = "", recipe: str = "") -> tuple[list[Line], list[str]]:
    """Every run below a folder, the newest last, and what is wrong with folders that are none.

    :param game: environment id; empty: any
    :param recipe: name; empty: any
    """
    runs, refused = open_runs(logs, game, recipe)
    lines, damaged = [], list(refused.values())
    for run in runs:
        try:
            lines.append(line_of(run))
        except UserError as error:
            damaged.append(str(error))
    return sorted(lines, key=lambda line: str(line.run.facts.get("started", ""))), sorted(damaged)


def line_of(run: Run) -> Line:
    """A run's line.

    :raises UserError: a file in it is damaged
    """
    steps, found = int(run.facts.get("steps", 0)), evaluations(run)
    games = training_games(run)
    if not games.empty:
        steps = max(steps, int(games["steps"].iloc[-1]))
    if found is None or not len(found["timesteps"]):
        return Line(run, state_of(run), steps, None, None)
    times, scores = found["timesteps"], found["results"]
    means = scores.mean(axis=1)
    last = float(means[-1]), float(scores[-1].std())
    best = float(means.max()), int(times[means.argmax()])
    return Line(run, state_of(run), max(steps, int(times[-1])), last, best)


def state_of(run: Run) -> str:
    """``running``, ``finished``, ``interrupted``, ``failed``, or ``pulled``.

    A run whose process was killed had no time to say so: nobody holds its lock any more.
    """
    state = str(run.facts.get("state", "unknown"))
    return "failed" if state == "running" and not run.is_locked() else state


def format_runs(lines: list[Line], logs: Path) -> str:
    """A table, one line a run."""
    titles = ("run", "game", "recipe", "seed", "steps", "last evaluation", "best", "state")
    rows = [titles, *(_cells(line, logs) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(line: Line, logs: Path) -> tuple[str, ...]:
    facts, path = line.run.facts, line.run.path
    place = path.relative_to(logs.resolve())
    of = facts.get("n_timesteps")
    state, error = line.state, facts.get("error")
    if state == "failed":
        state += f": {error}" if error else ": its process has gone"
    return (
        str(logs / place),
        str(facts["env_id"]),
        str(facts["recipe"]),
        str(facts["seed"]),
        f"{line.steps:,} of {of:,}" if isinstance(of, int) else f"{line.steps:,}",
        "-" if line.last is None else f"{line.last[0]:.1f} ± {line.last[1]:.1f}",
        "-" if line.best is None else f"{line.best[0]:.1f} at {line.best[1]:,}",
        state,
    )
