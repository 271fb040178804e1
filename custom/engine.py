"""How fast a recipe is computed; what is learnt is the recipe's.

Defaults are those of `make train`: the same algorithm, with float32's own rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from custom.errors import UserError

BUFFERS = ("frames", "sb3")
STORAGES = ("auto", "cpu")
UPDATES = ("fast", "sb3")
PRECISIONS = ("float32", "tf32", "bf16")


@dataclass(frozen=True)
class Engine:
    """Settings of the engine.

    :param buffer: ``frames``: `FrameReplayBuffer`; ``sb3``: what the recipe names, or SB3's
    :param storage: where ``frames`` lie: ``auto`` (with the network), ``cpu``
    :param update: ``fast``, or ``sb3`` for its arithmetic bit for bit
    :param precision: of the network: ``float32`` as PyTorch is set up, ``tf32`` on a GPU, ``bf16``
    :param n_envs: environments at the recipe's own ratio of updates; 0: as the recipe says
    :param workers: processes that play in training; 0: as many as threads, where that pays
    :param threads: of PyTorch on the CPU; 0: as PyTorch chooses
    """

    buffer: str = "frames"
    storage: str = "auto"
    update: str = "fast"
    precision: str = "float32"
    n_envs: int = 0
    workers: int = 0
    threads: int = 0

    @classmethod
    def recorded(cls, facts: Mapping[str, Any]) -> Engine:
        """The engine of a run or a study, from what was written down of it.

        :raises UserError: it was one that this version no longer has
        """
        if facts.get("env", "sb3") != "sb3":
            raise UserError("it was trained with ENGINE=native, which is gone; train anew")
        names = [field.name for field in fields(cls) if field.name in facts]
        return cls(**{name: facts[name] for name in names})
