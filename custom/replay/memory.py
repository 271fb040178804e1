"""Compare the memory that a replay buffer needs with the free memory, before it is allocated."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import get_device

from custom.recipe.model import Hyperparams
from custom.replay.buffer import RESERVE, bytes_per_step, gpu_has_room
from custom.system.errors import UserError

MEMINFO = Path("/proc/meminfo")
CGROUPS = (  # folder, limit and usage of a container; version 2, then 1
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def available_memory() -> int:
    """Bytes that this process can still allocate: the less of its machine's and its container's."""
    if MEMINFO.is_file():
        least = 1024 * _numbers(MEMINFO)["MemAvailable:"]
    else:  # macOS: total memory
        least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for folder, limit, usage in CGROUPS:
        try:
            most, used = (int(Path(folder, name).read_text()) for name in (limit, usage))
            cache = _numbers(Path(folder, "memory.stat"))["inactive_file"]  # freed on demand
        except (OSError, ValueError):  # no container, or "max": no limit
            continue
        least = min(least, most - used + cache)
    return max(least, 0)


def _numbers(file: Path) -> dict[str, int]:
    """A file of the kernel with a name and a number in each line."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {name: int(number) for name, number, *_ in lines}


def replay_size(hyperparams: Hyperparams, parent: dict[str, Any] | None) -> int:
    """Steps of a run's replay buffer: `buffer_size`, or all steps of the run if those are fewer.

    :param parent: as in run.json; a run that began with its parent's replay has all `buffer_size`
    """
    if parent and parent["has_replay"]:
        return hyperparams.buffer_size
    return min(hyperparams.buffer_size, hyperparams.n_timesteps + hyperparams.n_envs)


def step_bytes(observation_space: spaces.Space[Any], hyperparams: Hyperparams, frames: bool) -> int:
    """Bytes of one step of one environment in a run's replay buffer.

    :param frames: `FrameReplayBuffer`, unless the recipe names a `replay_buffer_class`; else SB3's
    """
    if frames and not hyperparams.replay_buffer_class:
        return bytes_per_step(observation_space, hyperparams.frame_stack)
    assert isinstance(observation_space, spaces.Box)
    assert observation_space.dtype is not None
    obs = int(np.prod(observation_space.shape)) * observation_space.dtype.itemsize
    scalars = 8 + 3 * 4  # action (int64); reward, done and timeout (float32)
    return obs * (1 if hyperparams.optimize_memory_usage else 2) + scalars


def check_replay(
    observation_space: spaces.Box,
    hyperparams: Hyperparams,
    file: Path,
    frames: bool,
    device: th.device | str = "cpu",
    parent: dict[str, Any] | None = None,
) -> None:
    """Refuse a replay buffer that does not fit into memory.

    :param file: of the recipe, for the message
    :param frames: as of `step_bytes`
    :param parent: as of `replay_size`
    :raises UserError: it does not fit; the message has the largest `buffer_size` that does
    """
    size = replay_size(hyperparams, parent)
    each = step_bytes(observation_space, hyperparams, frames)
    is_ours = frames and not hyperparams.replay_buffer_class
    if is_ours and gpu_has_room(size * each, get_device(device)):
        return
    free = max(available_memory() - RESERVE, 0)
    if size * each > free:
        fits = free // each // 1000 * 1000
        raise UserError(
            f"{file}: a replay of {size:,} steps needs {size * each / 1e9:.1f} GB and"
            f" {free / 1e9:.1f} GB are free; the largest that fits is {fits:,}"
            f" (set buffer_size: {fits} in a copy of the file)"
        )
