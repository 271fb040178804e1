"""Many runs of one experiment: games x recipes x seeds; what is finished is not trained again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from custom.atomic import remove
from custom.compare.measured import Measured
from custom.console import say
from custom.curves import evaluations
from custom.engine import Engine
from custom.errors import StateError, UserError
from custom.fanout.loop import run_all
from custom.fanout.task import Launcher, Resources, Task
from custom.overview import state_of
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe, sources
from custom.runs import Run, open_run, try_lock
from custom.signals import SIGNAL_STATUS
from custom.training.resume import can_go_on, is_of, saved_at
from custom.training.saved_state import can_be_saved
from custom.training.settings import Settings, fitted

ATTEMPTS = 3  # at a run that comes no further, each time that the command is given
LOOK_AGAIN = 2.0  # seconds, whether another process is still at a run


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
        return any(self._is_whole(run) for run in self.runs_of(cell))

    def _is_whole(self, run: Run) -> bool:
        """Finished, with its last evaluation, which a full disk may have cost."""
        if state_of(run) != "finished" or (found := evaluations(run)) is None:
            return False
        freq = int(run.facts["eval_freq"])
        last = run.facts["n_timesteps"] // freq * freq
        return bool(len(found["timesteps"]) and found["timesteps"][-1] >= last)

    def broken_off(self, cell: Cell, but: Collection[Path] = ()) -> Run | None:
        """The run of just this that came furthest, and can be gone on with.

        :param but: those that could not
        """
        if not self.save_state:
            return None
        found = [run for run in self.runs_of(cell) if can_go_on(run) and run.path not in but]
        return max(found, key=saved_at, default=None)

    def is_running(self, cell: Cell) -> bool:
        """Whether some process is training it."""
        return any(state_of(run) == "running" for run in self.runs_of(cell))

    def runs_of(self, cell: Cell) -> list[Run]:
        """Runs here of what a cell is, trained in the way that all are."""
        recipe = fitted(cell.recipe, self.engine)
        settings = Settings(
            seed=cell.seed,
            eval_freq=self._eval_freq(recipe),
            eval_episodes=self.episodes,
            engine=self.engine,
        )
        found = []
        for path in (self.logs / recipe.name / recipe.algo).glob(f"{cell.game.folder_name}_*"):
            with suppress(UserError):  # damaged: it is trained again
                run = open_run(path)
                if is_of(run, recipe, settings):
                    found.append(run)
        return found

    def measured(self, found: list[Measured]) -> list[Measured]:
        """Those of the runs in the same folder that are of this matrix."""
        paths = {run.path for cell in self.cells for run in self.runs_of(cell)}
        return [run for run in found if Path(run.name).resolve() in paths]

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
            files=tuple((str(file), file.read_text()) for file in sources(cell.recipe.file)),
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
            "precision": self.engine.precision,
            "threads": self.resources.cpus,
            "eval-freq": self._eval_freq(cell.recipe),
            "eval-episodes": self.episodes,
        }
        if self.engine.n_envs:
            flags["envs"] = self.engine.n_envs
        switches = ["--no-report"]
        buffer = cell.recipe.hyperparams.replay_buffer_class
        if self.save_state and can_be_saved(self.engine, buffer):
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
        self._goes_on: dict[str, Run | None] = {}
        self._given_up: set[Path] = set()  # runs that cannot be gone on with
        self._look_at: dict[str, float] = {}
        total = len(matrix.cells)
        self._done = total - len(self.waiting)
        say(f"{total} runs, {self._done} of them finished before")

    def next_task(self) -> Task | None:
        """A run that nobody is at."""
        for cell in list(self.waiting):
            if time.monotonic() < self._look_at.get(cell.name, 0):
                continue
            self._look_at[cell.name] = time.monotonic() + LOOK_AGAIN
            lock = self.matrix.log(cell).with_suffix(".lock").open("w")
            if try_lock(lock) and not self.matrix.is_running(cell):
                self.waiting.remove(cell)
                if not self.matrix.is_done(cell):
                    self._held[cell.name] = lock
                    return self._start(cell)
                self._tell(cell, "finished by another process")
            lock.close()
        return None

    def _start(self, cell: Cell) -> Task:
        self._attempts[cell.name] += 1
        self._began[cell.name] = time.time()
        run = self._goes_on[cell.name] = self.matrix.broken_off(cell, self._given_up)
        if run is not None:
            say(f"{cell.name}: goes on with {run.path}")
        return self.matrix.task(cell, run)

    def ended(self, task: Task, status: int) -> None:
        """Tell how a run ended, and line it up again where that may help."""
        cell, minutes = self._cells[task.name], (time.time() - self._began[task.name]) / 60
        self._held.pop(task.name).close()
        if status == 0 and self.matrix.is_done(cell):
            self._tell(cell, f"finished in {minutes:.1f} min")
            for run in self.matrix.runs_of(cell):
                if can_go_on(run):
                    remove(run.saved_state)  # of an earlier go
        elif self._may_help(cell, status):
            self._look_at.pop(cell.name)
            self.waiting.append(cell)
            say(f"{task.name}: ended with status {status}; it is tried again ({task.log})")
        else:
            say(f"{task.name}: ended with status {status}; look into {task.log}")

    def _may_help(self, cell: Cell, status: int) -> bool:
        """Whether another go may end otherwise: one that was killed, or whose state is damaged."""
        before = self._goes_on[cell.name]
        if status == StateError.exit_status and before is not None:
            self._given_up.add(before.path)
            remove(before.saved_state)
            return True
        run = self.matrix.broken_off(cell, self._given_up)
        if run is not None and saved_at(run) > self._began[cell.name]:
            self._attempts[cell.name] = 0  # it came further
        was_killed = status < 0 or status > SIGNAL_STATUS
        return was_killed and self._attempts[cell.name] < ATTEMPTS

    def _tell(self, cell: Cell, what: str) -> None:
        self._done += 1
        say(f"{cell.name}: {what}; {self._done} of {len(self.matrix.cells)}")
