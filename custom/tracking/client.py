"""W&B's client: its settings, its login, and its errors in one line.

Address, key, entity and project are its own settings: ``WANDB_BASE_URL``, ``WANDB_API_KEY``,
``WANDB_ENTITY``, ``WANDB_PROJECT``, ``wandb login``. The client uploads in a process of its own,
which retries by itself. It writes all that it is given to a file first.
"""

import os
import re
from typing import TYPE_CHECKING

from custom.system.errors import UserError, one_line

if TYPE_CHECKING:
    import wandb

ANSWER = 5.0  # seconds in which a server checks the key
START = 5.0  # seconds in which it creates a run
FINISH = 10.0  # seconds in which it takes the last rows and files of a run
LOG_IN = "for the key run .venv/bin/wandb login, or set WANDB_API_KEY"


def settings() -> "wandb.Settings":
    """Settings of a run: silent, bounded in time, without code, git and the machine's name."""
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
    """Check that the server answers and knows the key; never prompt.

    :raises UserError: it does not, within `ANSWER` seconds
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    address = "its settings"
    try:
        address = wandb.setup(wandb.Settings(mode="online", silent=True)).settings.base_url
        if not wandb.login(verify=False, prompt=False):
            raise ValueError("there is no API key")
        wandb.Api(timeout=int(ANSWER))  # which asks the server
    except (wandb.Error, ValueError) as error:
        text = reason(error)
        if "did not respond in time" in text:
            raise UserError(f"W&B: {address} does not answer") from None
        raise UserError(f"W&B: {address}: {text}; {LOG_IN}") from None


def reason(error: BaseException) -> str:
    """What an error says, in one line, without keys and without the client's advice."""
    text = one_line(error).partition(" Consider increasing")[0]
    if key := os.environ.get("WANDB_API_KEY"):
        text = text.replace(key, "***")
    text = re.sub(r"(?<=://)[^/@\s]+@", "***@", text)  # user:password@ of an address
    return re.sub(r"\b[\w-]{40,}\b", "***", text)[:300]
