"""How a recipe is computed, which decides its speed and memory; the recipe says what is learnt.

The defaults are those of `make train`. They compute SB3's algorithm up to the rounding of float32.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """Settings of the engine.

    :param buffer: replay buffer: ``frames`` is `FrameReplayBuffer` unless the recipe names a
        `replay_buffer_class`; ``sb3`` is the recipe's class or SB3's
    :param update: ``fast``, or ``sb3`` for SB3's arithmetic bit for bit
    :param precision: of the networks: ``float32`` or ``bf16`` (autocast)
    :param n_envs: environments in training, with the recipe's ratio of gradient steps to steps; 0:
        the recipe's `n_envs`
    :param workers: processes that step them, including the main one; 0: as many as make it faster
    :param threads: CPU threads of PyTorch; 0: PyTorch's default
    """

    buffer: str = "frames"
    update: str = "fast"
    precision: str = "float32"
    n_envs: int = 0
    workers: int = 0
    threads: int = 0
