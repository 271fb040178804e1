"""One training's run on W&B: it starts, takes rows and files, and ends; it never raises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from custom.runs.folder import Run
from custom.system.console import say
from custom.system.errors import UserError
from custom.tracking import client
from custom.tracking.wish import Tracking

if TYPE_CHECKING:
    import wandb

LATER = "make sync uploads it later"
UPLOADED = ".synced"  # beside a file of the client; wandb sync makes and reads this mark, too


class Session:
    """What W&B is told of a training.

    :param run: its folder keeps the client's files, its ``run.json`` the id of the run on W&B
    :param config: how it is trained
    :param rows: number of rows that a resumed run has logged already
    """

    def __init__(self, run: Run, tracking: Tracking, config: dict[str, Any], rows: int = 0) -> None:
        self.run = run
        self.tracking = tracking
        self.config = config
        self.rows = rows
        self._run: wandb.Run | None = None

    @property
    def is_open(self) -> bool:
        """Whether rows are taken."""
        return self._run is not None

    def start(self) -> None:
        """Start online, or offline where the server fails; that takes a few seconds at most."""
        offline = f"the run is tracked offline in {self.run.path / 'wandb'}; {LATER}"
        try:
            run, problem = self._init()
            for axis in ("steps", "frames"):
                run.define_metric(axis)
            run.define_metric("*", step_metric="steps")
            self.run.update(wandb=run.id)
            if not run.offline and run.starting_step >= self.rows:
                for file in unsent(self.run):  # of earlier processes, whose rows W&B has
                    is_offline = file.parent.name.startswith("offline")
                    if not is_offline and str(file) != run.settings.sync_file:
                        Path(f"{file}{UPLOADED}").touch()
        except Exception as error:
            self._give_up(error)
            return
        self._run = run
        if problem:
            say(f"warning: {problem}; {offline}")
        else:
            say(f"W&B: {offline if run.offline else run.url}")

    def _init(self) -> tuple[wandb.Run, str]:
        """A run, online if that is asked for; where that fails, an offline one and the reason."""
        problem = ""
        if self.tracking.mode == "online":
            try:
                client.log_in()
                return self._init_wandb("online"), problem
            except UserError as error:
                problem = str(error)
            except Exception as error:
                problem = f"W&B: {client.reason(error)}"
        return self._init_wandb("offline"), problem

    def _init_wandb(self, mode: Literal["online", "offline"]) -> wandb.Run:
        import wandb

        facts = self.run.facts
        game, recipe = facts["game"], facts["recipe"]
        entity, _, project = self.tracking.project.rpartition("/")
        return wandb.init(
            entity=entity or None,
            project=project,
            id=facts.get("wandb"),
            resume="allow",  # a run that has this id takes more rows
            name=f"{recipe} {game} seed {facts['seed']}",
            group=f"{game}/{recipe}"[:128],
            job_type="train",
            tags=[tag[:64] for tag in dict.fromkeys((game, recipe, facts["algo"]))],
            config=self.config,
            dir=str(self.run.path),
            mode=mode,
            reinit="create_new",
            settings=client.settings(),
        )

    def log(self, row: dict[str, Any]) -> None:
        """Log a row, with its number.

        A resumed run repeats the rows that came after its saved state: W&B ignores a number that
        it has.
        """
        number, self.rows = self.rows, self.rows + 1
        self.tell(lambda run: run.log(row, step=number, commit=True))

    def tell(self, action: Callable[[wandb.Run], object]) -> None:
        """Hand something over; it is not waited for."""
        if self._run is not None:
            try:
                action(self._run)
            except Exception as error:
                self._give_up(error)

    def finish(self, exit_code: int) -> None:
        """Upload the rest, in `client.FINISH` seconds at most; the files stay here in any case."""
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            run.finish(exit_code)
            if not run.offline:
                Path(f"{run.settings.sync_file}{UPLOADED}").touch()
        except (KeyboardInterrupt, SystemExit):  # asked to end, by whatever signal
            say(f"warning: W&B: the upload was stopped; {LATER}")
        except Exception as error:
            say(f"warning: W&B: not all was uploaded ({client.reason(error)}); {LATER}")

    def _give_up(self, error: Exception) -> None:
        import wandb

        self._run = None
        with suppress(Exception, SystemExit):  # else it raises when this process ends
            wandb.teardown()
        say(f"warning: W&B: no longer tracked ({client.reason(error)}); the training continues")


def unsent(run: Run) -> list[Path]:
    """The client's files that were not uploaded as a whole.

    They are ``<run>/wandb/[offline-]run-<time>-<id>/run-<id>.wandb``.
    """
    files = sorted((run.path / "wandb").glob("*run-*/run-*.wandb"))
    return [file for file in files if not Path(f"{file}{UPLOADED}").exists()]


def upload(run: Run) -> list[Path]:
    """Upload a run's files by W&B's own ``wandb sync``, which shows how far it is.

    Rows that had arrived are sent again, with the same ``_step``.

    :return: the folders of files that were not uploaded as a whole
    """
    with run.lock():
        paths = [str(file.resolve()) for file in unsent(run)]
        options = ["--include-online", "--yes"]
        command = [sys.executable, "-m", "wandb", "sync", *options, *paths]
        # It logs into the folder where it runs. Its status is always 0.
        subprocess.run(command, cwd=run.path, stdin=subprocess.DEVNULL, check=False)
        return [file.parent for file in unsent(run)]
