"""What a user asks to be tracked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec

from custom.system.errors import UserError

PROJECT = "sb3-atari-dqn"
MODES = ("", "online", "offline", "disabled", "shared", "dryrun", "run")  # of WANDB_MODE
CHOICES = ("off", "online", "wandb", "offline")  # wandb: another word for online


@dataclass(frozen=True)
class Tracking:
    """Where a training is tracked, and what goes there besides numbers.

    :param mode: ``off``; ``online``: live on the server; ``offline``: in files for ``make sync``
    :param videos: a film of one game after each evaluation
    :param model: the agent at the end of the training, as an artifact
    :param project: ``entity/name``, or the name of one of one's own
    """

    mode: str = "off"
    videos: bool = False
    model: bool = False
    project: str = PROJECT

    @property
    def is_on(self) -> bool:
        """Whether anything is tracked."""
        return self.mode != "off"


def tracking(asked: str, videos: bool = False, model: bool = False, project: str = "") -> Tracking:
    """What is asked for here and by W&B's own ``WANDB_MODE``; the more silent of the two wins.

    :param asked: one of `CHOICES`
    :param project: empty: as `project_named` says
    :raises UserError: it cannot be had here
    """
    if asked == "off":
        if videos or model:
            raise UserError("--track-videos and --track-model need TRACK=wandb or TRACK=offline")
        return Tracking()
    named = os.environ.get("WANDB_MODE", "")
    if named == "disabled":
        return Tracking()
    if find_spec("wandb") is None:
        raise UserError(f"TRACK={asked}: the package wandb is not installed here; leave TRACK out")
    address = os.environ.get("WANDB_BASE_URL", "https://")
    if not re.match(r"https?://", address):
        raise UserError(f"WANDB_BASE_URL {address!r} is no address; write http://... or unset it")
    if named not in MODES:
        raise UserError(f"WANDB_MODE {named!r} is unknown; write one of {', '.join(MODES[1:])}")
    is_offline = asked == "offline" or named in ("offline", "dryrun")
    mode = "offline" if is_offline else "online"
    return Tracking(mode, videos, model, project_named(project))


def project_named(asked: str) -> str:
    """The project that is asked for; else W&B's own ``WANDB_PROJECT``; else `PROJECT`.

    :raises UserError: this is no name of a project
    """
    named = asked or os.environ.get("WANDB_PROJECT") or PROJECT
    if not re.fullmatch(r"[^/\s]+(/[^/\s]+)?", named):
        raise UserError(f"PROJECT: {named!r} is not entity/name or the name of a project")
    return named
