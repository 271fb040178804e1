"""Many runs of one experiment: games x recipes x seeds; what is finished is not trained again."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
from custom.runs import open_run

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
    """

    cells: tuple[Cell, ...]
    logs: Path
    evaluations: int
    episodes: int
    engine: Engine = field(default_factory=Engine)
    device: str = "auto"
    resources: Resources = field(default_factory=Resources)

    def is_done(self, cell: Cell) -> bool:
        """Whether there is a finished run of just this."""
        recipe = self.engine.resolve(cell.recipe)
        folder = self.logs / recipe.name / recipe.algo
        for path in folder.glob(f"{cell.game.folder_name}_*"):
            try:
                run = open_run(path)
                if (
                    state_of(run) == "finished"
                    and run.facts["seed"] == cell.seed
                    and run.hyperparams == recipe.hyperparams
                    and run.facts["engine"] == self._engine
                    and run.facts["eval_protocol"]["episodes"] == self.episodes
                    and run.facts["eval_protocol"]["epsilon"] == EPSILON
                    and run.facts["eval_freq"] == self._eval_freq(recipe)
                ):
                    return True
            except (UserError, LookupError, TypeError):
                continue  # damaged, or of an earlier version: it is trained again
        return False

    def holds(self, run: Measured) -> bool:
        """Whether a run is one of these, and not another one in the same folder."""
        return any(
            run.game.env_id == cell.game.env_id
            and (run.recipe, run.seed) == (cell.recipe.name, cell.seed)
            and run.hyperparams == self.engine.resolve(cell.recipe).hyperparams
            for cell in self.cells
        )

    @property
    def _engine(self) -> dict[str, Any]:
        """As run.json has it."""
        return dataclasses.asdict(replace(self.engine, threads=self.resources.cpus))

    def _eval_freq(self, recipe: Recipe) -> int:
        return max(recipe.n_timesteps // self.evaluations, 1)

    def task(self, cell: Cell) -> Task:
        """The command that trains a run."""
        engine, steps = self.engine, cell.recipe.n_timesteps
        flags: dict[str, object] = {
            "game": cell.game.env_id,
            "recipe": cell.recipe.file,
            "steps": steps,
            "seed": cell.seed,
            "logs": self.logs.absolute(),
            "device": self.device,
            "engine": engine.env,
            "threads": self.resources.cpus,
            "eval-freq": self._eval_freq(cell.recipe),
            "eval-episodes": self.episodes,
        }
        if engine.n_envs:
            flags["envs"] = engine.n_envs
        arguments = tuple(f"--{name}={value}" for name, value in flags.items())
        log = self.logs / "matrix" / f"{cell.name.replace(' ', '_')}.log"
        return Task(
            cell.name,
            "scripts.train",
            (*arguments, "--no-report"),
            files=((str(cell.recipe.file), cell.recipe.file.read_text()),),
            log=log,
            resources=self.resources,
        )

    def train(self, launcher: Launcher, jobs: int) -> list[str]:
        """Train what is not finished yet.

        :return: the names of runs that did not finish, whatever was tried
        """
        (self.logs / "matrix").mkdir(parents=True, exist_ok=True)
        waiting = [cell for cell in self.cells if not self.is_done(cell)]
        say(f"{len(self.cells)} runs, {len(self.cells) - len(waiting)} of them finished before")
        by_name = {cell.name: cell for cell in waiting}
        attempts: Counter[str] = Counter()
        began: dict[str, float] = {}
        done = len(self.cells) - len(waiting)

        def next_task() -> Task | None:
            if not waiting:
                return None
            cell = waiting.pop(0)
            attempts[cell.name] += 1
            began[cell.name] = time.monotonic()
            return self.task(cell)

        def ended(task: Task, status: int) -> None:
            nonlocal done
            cell, minutes = by_name[task.name], (time.monotonic() - began[task.name]) / 60
            if status == 0 and self.is_done(cell):
                done += 1
                say(f"{task.name}: finished in {minutes:.1f} min; {done} of {len(self.cells)}")
            elif status < 0 and attempts[task.name] < ATTEMPTS:  # it may be luckier elsewhere
                waiting.append(cell)
                say(f"{task.name}: ended with status {status}; it is tried again ({task.log})")
            else:
                say(f"{task.name}: ended with status {status}; look into {task.log}")

        run_all(launcher, jobs, next_task, ended, lambda: not waiting)
        return [cell.name for cell in by_name.values() if not self.is_done(cell)]
