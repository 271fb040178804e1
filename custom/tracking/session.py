"""One training's run on W&B: it begins, takes rows, ends, and never fails.

A training that goes on after a break adds a stretch to the same run.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custom.runs.folder import Run
from custom.system.console import say
from custom.tracking import client
from custom.tracking.files import mark_uploaded, stretches, unsent
from custom.tracking.wish import Tracking

if TYPE_CHECKING:
    import wandb

LATER = "make sync uploads it later"


class Session:
    """What W&B is told of a training.

    :param run: whose folder keeps the files of W&B, and whose ``run.json`` the run's id
    :param config: how it is trained
    """

    def __init__(self, run: Run, tracking: Tracking, config: dict[str, Any]) -> None:
        self.run = run
        self.tracking = tracking
        self.config = config
        self._run: wandb.Run | None = None
        self._warned = False
        self._files: list[str] = []  # films that were handed over
        self._is_whole = True

    @property
    def is_open(self) -> bool:
        """Whether rows are taken."""
        return self._run is not None

    def start(self) -> None:
        """Begin online, or offline where that cannot be; a server that does not answer is bounded.

        A stretch that follows one which is not uploaded is offline, too: W&B adds rows in the order
        in which they come.
        """
        facts = self.run.facts.setdefault("wandb", {"id": secrets.token_hex(4)})
        try:
            wanted = self.tracking.mode == "online" and not unsent(self.run)
            problem = self._try_online() if wanted else ""
            self._run = self._run or self._open("offline")
            facts |= {"project": self._run.project, "entity": self._run.entity or None}
            self.run.update(wandb=facts)
        except Exception as error:
            self._give_up(error)
            return
        offline = f"the run is tracked offline in {self.run.path / 'wandb'}; {LATER}"
        if problem:
            self._warn(f"{problem}; {offline}")
        else:
            say(f"W&B: {offline if self._run.offline else self._run.url}")

    def _try_online(self) -> str:
        """Begin online; what is in the way, if that cannot be."""
        before = set(stretches(self.run))
        try:
            client.log_in()
            self._run = self._open("online")
            return ""
        except Exception as error:
            client.forget()
            for file in set(stretches(self.run)) - before:  # of the attempt
                shutil.rmtree(file.parent, ignore_errors=True)
            return client.reason(error)

    def _open(self, mode: str) -> wandb.Run:
        import wandb

        facts = self.run.facts
        game, recipe = facts["game"], facts["recipe"]
        entity, _, name = self.tracking.project.rpartition("/")
        return wandb.init(
            entity=entity or None,
            project=name,
            id=facts["wandb"]["id"],
            name=f"{recipe} {game} seed {facts['seed']}",
            group=f"{game}/{recipe}"[:128],
            job_type="train",
            tags=[tag[:64] for tag in dict.fromkeys((game, recipe, facts["algo"]))],
            config=self.config,
            dir=str(self.run.path),
            mode="online" if mode == "online" else "offline",
            resume="allow" if stretches(self.run) else None,
            reinit="create_new",
            settings=client.settings(),
        )

    def log(self, row: dict[str, Any]) -> None:
        """Hand over a row; it is not waited for."""
        self._tell(lambda run: run.log(row))

    def log_video(self, film: Path, row: dict[str, Any]) -> None:
        """Hand over a film, with a row's other values."""
        import wandb

        def send(run: wandb.Run) -> None:
            run.log({**row, "eval/video": wandb.Video(str(film))})
            self._files.append(client.digest(film))

        self._tell(send)

    def define_axes(self) -> None:
        """Draw everything over steps; frames are in each row, to be chosen as the axis."""
        self._tell(lambda run: run.define_metric("steps"))
        self._tell(lambda run: run.define_metric("frames"))
        self._tell(lambda run: run.define_metric("*", step_metric="steps"))

    def save_model(self, file: Path) -> None:
        """Upload an agent as an artifact."""
        import wandb

        def save(run: wandb.Run) -> None:
            artifact = wandb.Artifact(f"model-{run.id}", type="model")
            artifact.add_file(str(file))
            logged = run.log_artifact(artifact)
            if not run.offline:
                logged.wait(int(client.FINISH))

        try:
            if self._run is not None:
                save(self._run)
        except Exception as error:
            self._is_whole = False
            self._warn(f"the agent was not uploaded ({client.reason(error)}); {LATER}")

    def summarize(self, **values: Any) -> None:
        """Set what is said of the whole run."""
        self._tell(lambda run: run.summary.update(values))

    def _tell(self, say_it: Callable[[wandb.Run], object]) -> None:
        if self._run is not None:
            try:
                say_it(self._run)
            except Exception as error:
                self._give_up(error)

    def finish(self, exit_code: int) -> None:
        """Let the rest be uploaded, for a bounded time; the files stay where it is not."""
        if self._run is None:
            return
        run, self._run = self._run, None
        try:
            last = run.step - 1
            run.finish(exit_code)
            if run.offline:
                return
            path = f"{run.entity}/{run.project}/{run.id}"
            if self._is_whole and client.has_all(path, last, self._files):
                mark_uploaded(stretches(self.run)[-1])
            else:
                self._warn(f"{run.url} has only a part of the run; {LATER}")
        except (KeyboardInterrupt, SystemExit):  # asked to end, by whatever signal
            self._warn(f"the upload was stopped; {LATER}")
        except Exception as error:
            self._warn(f"not all of the run was uploaded ({client.reason(error)}); {LATER}")
        finally:
            client.forget(client.TIDY)

    def _give_up(self, error: Exception) -> None:
        self._run = None
        client.forget(client.TIDY)  # or it raises at the end of this process
        self._warn(f"the run is no longer tracked ({client.reason(error)}); training goes on")

    def _warn(self, text: str) -> None:
        """Once: what goes wrong later follows from it."""
        if not self._warned:
            say(f"warning: W&B: {text}")
        self._warned = True
