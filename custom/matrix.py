"""Many runs of one experiment: games x recipes x seeds; what is finished is not trained again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from custom.compare.measured import Measured
from custom.console import say
from custom.engine import Engine
from custom.errors import UserError
from custom.evaluation import EPSILON
from custom.fanout.loop import run_all
from custom.fanout.task import Launcher, Resources, Task
from custom.games import Game
from custom.overview import state_of
from custom.recipes import Recipe
from custom.resume import can_go_on
from custom.runs import Run, open_run, try_lock
from custom.saved_state import can_be_saved

ANY_THREADS = {"threads": 0}  # they change nothing but the time
ATTEMPTS = 3  # at a run, each time that the command is given


@dataclass(frozen=True)
class Cell:
    """One run.

    :param recipe: its budget resolved
    """

    game: Game
    recipe: Recipe
    seed: int

    @property
    def name(self) -> str:
        """For lines and for the file of what it prints."""
        return f"{self.recipe.name} {self.game.folder_name} seed {self.seed}"


@dataclass(frozen=True)
class Matrix:
    """Runs, all trained and evaluated in the same way.

    :param logs: where their folders are
    :param evaluations: during each run, the last one at its end
    :param episodes: full games of each
    :param save_state: so that runs that are broken off go on in their middle
    """

    cells: tuple[Cell, ...]
    logs: Path
    evaluations: int
    episodes: int
    engine: Engine = field(default_factory=Engine)
    device: str = "auto"
    resources: Resources = field(default_factory=Resources)
    save_state: bool = True

    def is_done(self, cell: Cell) -> bool:
        """Whether there is a finished run of just this."""
        return any(state_of(run) == "finished" for run in self._runs_of(cell))

    def broken_off(self, cell: Cell) -> Run | None:
        """The latest run of just this that can be gone on with."""
        found = [run for run in self._runs_of(cell) if can_go_on(run)]
        return max(found, key=lambda run: run.path.stat().st_mtime, default=None)

    def _runs_of(self, cell: Cell) -> Iterator[Run]:
        """Runs here, finished or not, of what a cell is and in the way that all are trained."""
        recipe = self.engine.resolve(cell.recipe)
        for path in (self.logs / recipe.name / recipe.algo).glob(f"{cell.game.folder_name}_*"):
            try:
                run = open_run(path)
                if (
                    run.facts["seed"] == cell.seed
                    and run.hyperparams == recipe.hyperparams
                    and run.facts["engine"] | ANY_THREADS == asdict(self.engine) | ANY_THREADS
                    and run.facts["eval_protocol"]["episodes"] == self.episodes
                    and run.facts["eval_protocol"]["epsilon"] == EPSILON
                    and run.facts["eval_freq"] == self._eval_freq(recipe)
                ):
                    yield run
            except (UserError, LookupError, TypeError):
                continue  # damaged, or of an earlier version: it is trained again

    def holds(self, run: Measured) -> bool:
        """Whether a run is one of these, and not another one in the same folder."""
        return any(
            run.game.env_id == cell.game.env_id
            and (run.recipe, run.seed) == (cell.recipe.name, cell.seed)
            and run.hyperparams == self.engine.resolve(cell.recipe).hyperparams
            for cell in self.cells
        )

    def _eval_freq(self, recipe: Recipe) -> int:
        return max(recipe.n_timesteps // self.evaluations, 1)

    def task(self, cell: Cell, run: Run | None = None) -> Task:
        """The command that trains a run.

        :param run: that it goes on with; None: a new one
        """
        if run is not None:
            arguments = (f"--run={run.path}", f"--device={self.device}", "--no-report")
            return Task(
                cell.name, "scripts.resume", arguments, log=self.log(cell), resources=self.resources
            )
        return Task(
            cell.name,
            "scripts.train",
            self._arguments(cell),
            files=((str(cell.recipe.file), cell.recipe.file.read_text()),),
            log=self.log(cell),
            resources=self.resources,
        )

    def log(self, cell: Cell) -> Path:
        """File of what a run prints."""
        return self.logs / "matrix" / f"{cell.name.replace(' ', '_')}.log"

    def _arguments(self, cell: Cell) -> tuple[str, ...]:
        flags: dict[str, object] = {
            "game": cell.game.env_id,
            "recipe": cell.recipe.file,
            "steps": cell.recipe.n_timesteps,
            "seed": cell.seed,
            "logs": self.logs.absolute(),
            "device": self.device,
            "engine": self.engine.env,
            "precision": self.engine.precision,
            "threads": self.resources.cpus,
            "eval-freq": self._eval_freq(cell.recipe),
            "eval-episodes": self.episodes,
        }
        if self.engine.n_envs:
            flags["envs"] = self.engine.n_envs
        switches = ["--no-report"]
        if self.save_state and can_be_saved(self.engine, cell.recipe.hyperparams):
            switches.append("--save-state")
        return (*(f"--{name}={value}" for name, value in flags.items()), *switches)

    def train(self, launcher: Launcher, jobs: int) -> list[str]:
        """Train what is not finished yet; other processes may be at the same runs.

        :return: the names of runs that did not finish, whatever was tried
        """
        (self.logs / "matrix").mkdir(parents=True, exist_ok=True)
        queue = Queue(self)
        run_all(launcher, jobs, queue.next_task, queue.ended, lambda: not queue.waiting)
        return [cell.name for cell in self.cells if not self.is_done(cell)]


class Queue:
    """The runs of a matrix that are not finished, each held by one process while it is trained."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.waiting = [cell for cell in matrix.cells if not matrix.is_done(cell)]
        self._cells = {cell.name: cell for cell in self.waiting}
        self._attempts: Counter[str] = Counter()
        self._held: dict[str, IO[str]] = {}
        self._began: dict[str, float] = {}
        self._given_up: set[Path] = set()  # runs that could not be gone on with
        self._goes_on: dict[str, Path] = {}
        total = len(matrix.cells)
        self._done = total - len(self.waiting)
        say(f"{total} runs, {self._done} of them finished before")

    def next_task(self) -> Task | None:
        """A run that nobody is at."""
        for cell in list(self.waiting):
            lock = self.matrix.log(cell).with_suffix(".lock").open("w")
            if not try_lock(lock):
                lock.close()
                continue
            self.waiting.remove(cell)
            if self.matrix.is_done(cell):  # by another process, meanwhile
                lock.close()
                self._tell(cell, "finished elsewhere")
                continue
            self._held[cell.name] = lock
            return self._start(cell)
        return None

    def _start(self, cell: Cell) -> Task:
        self._attempts[cell.name] += 1
        self._began[cell.name] = time.monotonic()
        run = self.matrix.broken_off(cell)
        if run is None or run.path in self._given_up:
            self._goes_on.pop(cell.name, None)
            return self.matrix.task(cell)
        self._goes_on[cell.name] = run.path
        say(f"{cell.name}: goes on with {run.path}")
        return self.matrix.task(cell, run)

    def ended(self, task: Task, status: int) -> None:
        """Tell how a run ended, and line it up again where that may help."""
        cell, minutes = self._cells[task.name], (time.monotonic() - self._began[task.name]) / 60
        self._held.pop(task.name).close()
        if status == 0 and self.matrix.is_done(cell):
            self._tell(cell, f"finished in {minutes:.1f} min")
            return
        said = f"{task.name}: ended with status {status}"
        if status == UserError.exit_status and task.name in self._goes_on:
            self._given_up.add(self._goes_on[task.name])
        elif status == UserError.exit_status or self._attempts[task.name] >= ATTEMPTS:
            say(f"{said}; look into {task.log}")
            return
        self.waiting.append(cell)
        say(f"{said}; it is tried again ({task.log})")

    def _tell(self, cell: Cell, what: str) -> None:
        self._done += 1
        say(f"{cell.name}: {what}; {self._done} of {len(self.matrix.cells)}")
