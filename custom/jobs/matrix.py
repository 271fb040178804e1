"""Many runs of one experiment: games x recipes x seeds. What is finished is not trained again."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from custom.jobs.task import Launcher, Resources, Task, run_all
from custom.learner.engine import Engine
from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.runs.folder import Run, open_run
from custom.runs.listing import can_resume, state_of
from custom.runs.metrics import evaluations
from custom.system.console import say
from custom.system.errors import UserError
from custom.system.files import lock
from custom.system.signals import SIGNAL_STATUS
from custom.training.resume import is_run_of, saved_at
from custom.training.settings import Settings, fitted

ATTEMPTS = 5  # of a run whose process is killed


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
        """For messages and the name of its log."""
        return f"{self.recipe.name} {self.game.folder_name} seed {self.seed}"


@dataclass(frozen=True)
class Matrix:
    """Runs that are all trained and evaluated in the same way.

    :param logs: where their folders are
    :param evaluations: during each run, the last one at its end
    :param episodes: full games of each evaluation
    """

    cells: tuple[Cell, ...]
    logs: Path
    evaluations: int
    episodes: int
    engine: Engine = field(default_factory=Engine)
    device: str = "auto"
    resources: Resources = field(default_factory=Resources)

    def runs_of(self, cell: Cell) -> list[Run]:
        """The runs in `logs` with the values, seed, engine and evaluations of a cell."""
        recipe = fitted(cell.recipe, self.engine)
        settings = Settings(
            seed=cell.seed,
            eval_freq=self._eval_freq(recipe),
            eval_episodes=self.episodes,
            engine=self.engine,
        )
        runs = []
        for path in (self.logs / recipe.name / recipe.algo).glob(f"{cell.game.folder_name}_*"):
            with suppress(UserError):  # a damaged run is trained again
                run = open_run(path)
                if is_run_of(run, recipe, settings):
                    runs.append(run)
        return runs

    def is_done(self, cell: Cell) -> bool:
        """Whether it has a finished run with its last evaluation, which a full disk may cost."""
        for run in self.runs_of(cell):
            evaluated, freq = evaluations(run), int(run.facts["eval_freq"])
            last = run.facts["n_timesteps"] // freq * freq
            is_whole = evaluated is not None and (evaluated["timesteps"] >= last).any()
            if is_whole and state_of(run) == "finished":
                return True
        return False

    def is_running(self, cell: Cell) -> bool:
        """Whether some process is training it."""
        return any(state_of(run) == "running" for run in self.runs_of(cell))

    def interrupted(self, cell: Cell) -> Run | None:
        """Its interrupted run with the newest saved state."""
        runs = (run for run in self.runs_of(cell) if can_resume(run))
        return max(runs, key=saved_at, default=None)

    def paths(self) -> set[Path]:
        """The folders of all its runs."""
        return {run.path for cell in self.cells for run in self.runs_of(cell)}

    def log(self, cell: Cell) -> Path:
        """The file for the output of its processes."""
        return self.logs / "matrix" / f"{cell.name.replace(' ', '_')}.log"

    def task(self, cell: Cell, run: Run | None = None) -> Task:
        """The command that trains a run.

        :param run: to resume; None: a new one
        """
        return Task(
            cell.name,
            "scripts.resume" if run else "scripts.train",
            (*self._flags(cell, run), "--no-report"),
            log=self.log(cell).absolute(),
            resources=self.resources,
        )

    def _flags(self, cell: Cell, run: Run | None) -> list[str]:
        if run is not None:
            return [f"--run={run.path}", f"--device={self.device}"]
        flags: dict[str, object] = {
            "game": cell.game.env_id,
            "recipe": f"{cell.recipe.file.absolute()}{cell.recipe.changes}",
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
        return [f"--{name}={value}" for name, value in flags.items()]

    def _eval_freq(self, recipe: Recipe) -> int:
        return max(recipe.n_timesteps // self.evaluations, 1)

    def train(self, launch: Launcher, jobs: int) -> list[str]:
        """Train what is not finished; several processes may share the work.

        :return: the names of runs that did not finish
        """
        (self.logs / "matrix").mkdir(parents=True, exist_ok=True)
        queue = Queue(self)
        run_all(launch, jobs, queue.next_task, queue.ended, lambda: not queue.waiting)
        return [cell.name for cell in self.cells if not self.is_done(cell)]


class Queue:
    """The unfinished runs of a matrix; a lock gives each to one process at a time."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.waiting = [cell for cell in matrix.cells if not matrix.is_done(cell)]
        self._running: dict[str, tuple[Cell, IO[str]]] = {}  # and their locks
        self._attempts: Counter[str] = Counter()
        self._done = len(matrix.cells) - len(self.waiting)
        say(f"{len(matrix.cells)} runs, {self._done} of them finished before")

    def next_task(self) -> Task | None:
        """A run that no process trains, if there is one."""
        for cell in list(self.waiting):
            file = lock(self.matrix.log(cell).with_suffix(".lock"), seconds=0)
            if file is None:
                continue
            if not self.matrix.is_running(cell):
                self.waiting.remove(cell)
                if not self.matrix.is_done(cell):
                    return self._start(cell, file)
                self._report(cell, "finished by another process")
            file.close()
        return None

    def _start(self, cell: Cell, file: IO[str]) -> Task:
        run = self.matrix.interrupted(cell)
        self._running[cell.name] = cell, file
        self._attempts[cell.name] += 1
        if run is not None:
            say(f"{cell.name}: resumes {run.path}")
        return self.matrix.task(cell, run)

    def ended(self, task: Task, status: int) -> None:
        """Report how a run ended; queue it again if it was killed, but not too often."""
        cell, file = self._running.pop(task.name)
        file.close()
        was_killed = status < 0 or status > SIGNAL_STATUS
        if status == 0 and self.matrix.is_done(cell):
            self._report(cell, "finished")
        elif was_killed and self._attempts[cell.name] < ATTEMPTS:
            self.waiting.append(cell)
            say(f"{task.name}: ended with status {status}; it is tried again ({task.log})")
        else:
            say(f"{task.name}: ended with status {status}; look into {task.log}")

    def _report(self, cell: Cell, what: str) -> None:
        self._done += 1
        say(f"{cell.name}: {what}; {self._done} of {len(self.matrix.cells)}")
