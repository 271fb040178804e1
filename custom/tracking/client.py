"""W&B's own client: who asks, how long it may take, and what is said of its errors.

Address, key, entity and project are its own settings: ``WANDB_BASE_URL``, ``WANDB_API_KEY``,
``WANDB_ENTITY``, ``WANDB_PROJECT``, ``wandb login``. The client computes in a process of its own,
which holds the connection, asks again by itself, and writes all it is given to a file first.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb
    from wandb.apis.public import Run

ANSWER = 5.0  # seconds in which a server says who asks
START = 5.0  # and in which it makes a run
FINISH = 30.0  # and in which it takes the rest of one
CONFIRM = 5.0  # and in which it shows what it took
TIDY = 2.0  # in which the client ends when all is done
LOG_IN = "run .venv/bin/wandb login, or set WANDB_API_KEY"


class RefusedError(Exception):
    """W&B cannot be used now; the message is the reason in a few words."""


def settings() -> wandb.Settings:
    """Of a run: it says nothing, stores nothing of code and git, and does not wait for ever."""
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        disable_code=True,
        disable_git=True,  # the revision is in the configuration
        x_save_requirements=False,  # as are the versions
        x_disable_meta=True,  # as is the machine, without its name and paths
        init_timeout=START,
        finish_timeout=FINISH,
        finish_timeout_raises=True,
        use_dot_wandb=False,
    )


def log_in() -> None:
    """Make sure that there is a server that knows the key; a dead one takes `ANSWER` seconds.

    :raises RefusedError: there is not
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    address = wandb.setup(wandb.Settings(mode="online", silent=True)).settings.base_url
    try:
        with _answer_within(ANSWER):
            if wandb.login(verify=True, prompt=False):
                return
    except Exception as error:
        text = reason(error)
        if "did not respond in time" in text:
            raise RefusedError(f"{address} does not answer") from None
        if re.search(r"\b40[13]\b|not logged in|API key", text):
            raise RefusedError(f"{address} refuses the API key ({text}): {LOG_IN}") from None
        raise
    raise RefusedError(f"there is no W&B API key: {LOG_IN}")


def forget(patience: float = 0.0) -> None:
    """End the client's process.

    By itself it goes on with what it was asked for, however long a server takes that does not
    answer; and so would the end of this process, which waits for it.

    :param patience: seconds that it has to end by itself
    """
    import wandb

    process = _process()
    end = threading.Timer(patience, process.kill if process else lambda: None)
    end.start()
    try:
        with suppress(Exception, SystemExit):  # it exits as its process did
            wandb.teardown()
    finally:
        end.cancel()


def _process() -> subprocess.Popen[bytes] | None:
    """The client's process, which the client shows nobody; what it was given is in its file."""
    from wandb.sdk import wandb_setup

    connection = getattr(wandb_setup._singleton, "_connection", None)
    process = getattr(getattr(connection, "_proc", None), "_process", None)
    return process if isinstance(process, subprocess.Popen) else None


@contextmanager
def _answer_within(seconds: float) -> Iterator[None]:
    """What the client reads from the environment at each request."""
    name, before = "WANDB_HTTP_TIMEOUT", os.environ.get("WANDB_HTTP_TIMEOUT")
    os.environ[name] = str(int(seconds))
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def entity() -> str | None:
    """Under whose name the server keeps runs where nobody is named."""
    import wandb

    found: str | None = os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
    return found


def runs(project: str, config: dict[str, Any]) -> Iterable[Run]:
    """The runs of a project that have these values in their configuration, the oldest first.

    :param project: ``entity/name``, or the name of one of one's own
    """
    import wandb

    filters = {f"config.{name}": value for name, value in config.items()}
    found: Iterable[Run] = wandb.Api().runs(project, filters, order="+created_at", lazy=False)
    return found


def last_step(path: str) -> int:
    """``_step`` of the last row that the server has of a run; -1: it has none.

    :param path: ``entity/project/id``, or ``project/id`` for one's own
    """
    import wandb

    try:
        return int(wandb.Api(timeout=int(ANSWER)).run(path).lastHistoryStep)
    except ValueError:  # there is no such run
        return -1


def has_all(path: str, step: int, files: list[str]) -> bool:
    """Whether the server has this row of a run and these files; it may take a moment to show them.

    :param files: what their names end with, but for their suffix
    """
    end = time.monotonic() + CONFIRM
    while last_step(path) < step or not _has_files(path, files):
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _has_files(path: str, files: list[str]) -> bool:
    import wandb

    if not files:
        return True
    stems = [Path(file.name).stem for file in wandb.Api(timeout=int(ANSWER)).run(path).files()]
    return all(any(stem.endswith(name) for stem in stems) for name in files)


def digest(file: Path) -> str:
    """What W&B ends the name of an uploaded file with, ahead of the suffix."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:20]


def reason(error: BaseException) -> str:
    """What an error says, in one line that holds no key, whatever the client put into it."""
    return without_key(" ".join(str(error).split()) or type(error).__name__)


def without_key(text: str) -> str:
    """The text with every key made unreadable, and without the client's advice."""
    text = text.partition(" Consider increasing")[0]
    key = os.environ.get("WANDB_API_KEY")
    if key:
        text = text.replace(key, "***")
    text = re.sub(r"(?<=://)[^/@\s]+@", "***@", text)  # user:password@ of an address
    return re.sub(r"\b[\w-]{40,}\b", "***", text)[:300]
