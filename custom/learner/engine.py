"""How fast a recipe is computed; the recipe says what is learnt.

The defaults are those of `make train`: the same algorithm, up to the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Engine:
    """Settings of the engine.

    :param buffer: ``frames`` (`FrameReplayBuffer`), or ``sb3`` (the recipe's, or SB3's)
    :param storage: where ``frames`` lie: ``auto`` (on the network's device if they fit), or ``cpu``
    :param update: ``fast``, or ``sb3`` for SB3's arithmetic bit for bit
    :param precision: of the network: ``float32`` as PyTorch is set up, ``tf32`` on a GPU, ``bf16``
    :param n_envs: games at once, with the recipe's ratio of updates to steps; 0: the recipe's
    :param workers: processes that play in training; 0: one per thread, where that is faster
    :param threads: PyTorch's on the CPU; 0: PyTorch's choice
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
        """The engine of a run or a study, from its record; unknown settings are ignored."""
        names = [field.name for field in fields(cls) if field.name in facts]
        return cls(**{name: facts[name] for name in names})
