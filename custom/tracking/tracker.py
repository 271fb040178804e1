"""One training's run on W&B: its games, its evaluations, and all that SB3's logger dumps."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from custom.runs.folder import Run
from custom.system.console import say
from custom.system.errors import UserError
from custom.tracking import client
from custom.tracking.wish import Tracking

if TYPE_CHECKING:
    import wandb

TIMES = ("wall_clock_seconds", "cpu_seconds", "evaluation_cpu_seconds")
AT_THE_END = ("state", "steps", *TIMES)  # of run.json: known only at the end
NOT_CONFIG = ("tracking", "wandb", *AT_THE_END)
LOGGED = (bool, int, float, str, list, np.generic)  # W&B takes these as they are
LATER = "make sync uploads it later"
UPLOADED = ".synced"  # beside a file of the client; wandb sync makes and reads this mark, too


class Tracker(BaseCallback, KVWriter):
    """Tracks a training; it changes nothing in it, and W&B's errors end only the tracking.

    :param run: its folder keeps the client's files, its ``run.json`` the id of the run on W&B
    :param rows: number of rows that a resumed run has logged already
    """

    def __init__(self, run: Run, tracking: Tracking, rows: int = 0) -> None:
        super().__init__()
        self.run = run
        self.tracking = tracking
        self.rows = rows
        self._run: wandb.Run | None = None

    def _on_training_start(self) -> None:
        self.start()
        self.logger.output_formats.append(self)

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                score, length = float(info["episode"]["r"]), int(info["episode"]["l"])
                row = {"training/score": score, "training/game_frames": length}
                self.log(row, self.num_timesteps)
        return True

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Log all numbers, texts and lists of a dump of SB3's logger as one row."""
        row = {key: value for key, value in key_values.items() if isinstance(value, LOGGED)}
        self.log(row, step)

    def close(self) -> None:
        """Nothing: `finish` ends the run."""

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

    def _init(self) -> "tuple[wandb.Run, str]":
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

    def _init_wandb(self, mode: Literal["online", "offline"]) -> "wandb.Run":
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
            config=config_of(self.run),
            dir=str(self.run.path),
            mode=mode,
            reinit="create_new",
            settings=client.settings(),
        )

    def log(self, row: dict[str, Any], steps: int) -> None:
        """Log a row with its number, and the steps and frames at which it stands.

        A resumed run repeats the rows that came after its saved state: W&B ignores a number that
        it has.
        """
        number, self.rows = self.rows, self.rows + 1
        place = {"steps": steps, "frames": steps * self.run.facts["frame_skip"]}
        self._tell(lambda run: run.log(row | place, step=number, commit=True))

    def _tell(self, action: "Callable[[wandb.Run], object]") -> None:
        """Hand something over; it is not waited for."""
        if self._run is not None:
            try:
                action(self._run)
            except Exception as error:
                self._give_up(error)

    def finish(self, exit_code: int) -> None:
        """Log what is known only at the end, and upload the rest, in `client.FINISH` seconds.

        The files stay here in any case.
        """
        values = {key: self.run.facts[key] for key in AT_THE_END if key in self.run.facts}
        evaluation = self.run.path / "evaluation.json"
        with suppress(OSError, ValueError):  # there is none, or half of one
            values["final_evaluation"] = json.loads(evaluation.read_text())
        self._tell(lambda run: run.summary.update(values))
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


def config_of(run: Run) -> dict[str, Any]:
    """The resolved recipe and all that is needed to repeat the run."""
    facts = {key: value for key, value in run.facts.items() if key not in NOT_CONFIG}
    return {**facts, "hyperparams": run.hyperparams.given}


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
