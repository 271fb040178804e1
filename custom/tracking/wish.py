"""What is tracked and where: the options of a training and W&B's own variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from custom.system.errors import UserError

PROJECT = "sb3-atari-dqn"
MODES = ("", "online", "offline", "disabled")  # of WANDB_MODE
CHOICES = ("off", "online", "wandb", "offline")  # wandb is the same as online


@dataclass(frozen=True)
class Tracking:
    """Where a training is tracked, and what is uploaded besides numbers.

    :param mode: ``off``; ``online``: live on the server; ``offline``: in files for ``make sync``
    :param videos: a film of one game after each evaluation
    :param model: the agent at the end of the training, as an artifact
    :param project: ``entity/name``, or the name of a project of the default entity
    """

    mode: str = "off"
    videos: bool = False
    model: bool = False
    project: str = PROJECT

    @property
    def is_on(self) -> bool:
        """Whether anything is tracked."""
        return self.mode != "off"


def tracking(mode: str, videos: bool = False, model: bool = False, project: str = "") -> Tracking:
    """Check the options; ``WANDB_MODE=offline`` and ``disabled`` take precedence.

    :param mode: one of `CHOICES`
    :param project: empty: as `project_named` says
    :raises UserError: an option or a variable of W&B is wrong
    """
    if mode == "off":
        if videos or model:
            raise UserError("--track-videos and --track-model need TRACK=wandb or TRACK=offline")
        return Tracking()
    named = os.environ.get("WANDB_MODE", "")
    if named not in MODES:
        raise UserError(f"WANDB_MODE {named!r} is unknown; write one of {', '.join(MODES[1:])}")
    if named == "disabled":
        return Tracking()
    address = os.environ.get("WANDB_BASE_URL", "https://")
    if not re.match(r"https?://", address):
        raise UserError(f"WANDB_BASE_URL {address!r} is no address; write http://... or unset it")
    mode = "offline" if "offline" in (mode, named) else "online"
    return Tracking(mode, videos, model, project_named(project))


def project_named(asked: str) -> str:
    """The project that is asked for; else ``WANDB_PROJECT``; else `PROJECT`.

    :raises UserError: it is not the name of a project
    """
    named = asked or os.environ.get("WANDB_PROJECT") or PROJECT
    if not re.fullmatch(r"[^/\s]+(/[^/\s]+)?", named):
        raise UserError(f"PROJECT: {named!r} is not entity/name or the name of a project")
    return named
