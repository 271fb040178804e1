"""What is tracked and where: the options of a training and W&B's own variables."""

import os
import re
from dataclasses import dataclass

from custom.system.errors import UserError

PROJECT = "sb3-atari-dqn"
CHOICES = ("off", "online", "wandb", "offline")  # wandb is the same as online


@dataclass(frozen=True)
class Tracking:
    """Where a training is tracked.

    :param mode: ``off``; ``online``: live on the server; ``offline``: in files for ``make sync``
    :param project: ``entity/name``, or the name of a project of the default entity
    """

    mode: str = "off"
    project: str = PROJECT


def tracking(mode: str, project: str = "") -> Tracking:
    """What is asked for; ``WANDB_MODE=offline`` and ``disabled`` take precedence.

    :param mode: one of `CHOICES`
    :param project: empty: as `project_named` says
    :raises UserError: the project has no such name
    """
    named = os.environ.get("WANDB_MODE")
    if mode == "off" or named == "disabled":
        return Tracking()
    return Tracking("offline" if "offline" in (mode, named) else "online", project_named(project))


def project_named(asked: str) -> str:
    """The project that is asked for; else ``WANDB_PROJECT``; else `PROJECT`.

    :raises UserError: it is not the name of a project
    """
    named = asked or os.environ.get("WANDB_PROJECT") or PROJECT
    if not re.fullmatch(r"[^/\s]+(/[^/\s]+)?", named):
        raise UserError(f"PROJECT: {named!r} is not entity/name or the name of a project")
    return named
