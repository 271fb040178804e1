"""How a recipe is computed, which decides its speed and memory; the recipe says what is learnt.

The defaults are those of `make train`. They compute SB3's algorithm up to the rounding of float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Engine:
    """Settings of the engine.

    :param buffer: replay buffer: ``frames`` is `FrameReplayBuffer` unless the recipe names a
        `replay_buffer_class`; ``sb3`` is the recipe's class or SB3's
    :param update: ``fast``, or ``sb3`` for SB3's arithmetic bit for bit
    :param precision: of the networks: ``float32`` or ``bf16`` (autocast)
    :param n_envs: environments in training, with the recipe's ratio of gradient steps to steps; 0:
        the recipe's `n_envs`
    :param workers: processes that step them, including the main one; 0: as many as pay
    :param threads: CPU threads of PyTorch; 0: PyTorch's default
    """

    buffer: str = "frames"
    update: str = "fast"
    precision: str = "float32"
    n_envs: int = 0
    workers: int = 0
    threads: int = 0

    @classmethod
    def recorded(cls, facts: Mapping[str, Any]) -> "Engine":
        """The engine that a run or a study has recorded; unknown settings are ignored."""
        names = [field.name for field in fields(cls) if field.name in facts]
        return cls(**{name: facts[name] for name in names})
