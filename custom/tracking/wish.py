"""What a user asks to be tracked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec

from custom.errors import UserError

PROJECT = "sb3-atari-dqn"
CHOICES = ("off", "online", "wandb", "offline")  # wandb: another word for online


@dataclass(frozen=True)
class Tracking:
    """Where a training is tracked, and what goes there besides numbers.

    :param mode: ``off``; ``online``: live on the server; ``offline``: in files for ``make sync``
    :param videos: a film of one game after each evaluation
    :param model: the agent at the end of the training, as an artifact
    """

    mode: str = "off"
    videos: bool = False
    model: bool = False

    @property
    def is_on(self) -> bool:
        """Whether anything is tracked."""
        return self.mode != "off"


def tracking(asked: str, videos: bool = False, model: bool = False) -> Tracking:
    """What is asked for here and by W&B's own ``WANDB_MODE``; the more silent of the two wins.

    :param asked: one of `CHOICES`
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
    is_offline = asked == "offline" or named in ("offline", "dryrun")
    return Tracking("offline" if is_offline else "online", videos, model)


def project() -> str:
    """The project of all runs; W&B's own ``WANDB_PROJECT``, where it is set."""
    return os.environ.get("WANDB_PROJECT") or PROJECT
