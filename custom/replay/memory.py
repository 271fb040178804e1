"""Compare the memory that a replay buffer needs with the free memory, before it is allocated."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.utils import get_device

from custom.recipe.model import Hyperparams
from custom.replay.buffer import bytes_per_step
from custom.system.errors import UserError

RESERVE = 10**9  # bytes for the program, the networks and the evaluation
CGROUP_FILES = (  # limit and usage of a container; version 2, then 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def bytes_per_stacked_step(observation_space: spaces.Box, optimize_memory_usage: bool) -> int:
    """Bytes that SB3's `ReplayBuffer` keeps for one step of one environment.

    :param observation_space: stacked frames, e.g. (4, 84, 84) of uint8
    :param optimize_memory_usage: SB3's option: one array for observations and next observations
    """
    assert observation_space.dtype is not None
    obs = int(np.prod(observation_space.shape)) * observation_space.dtype.itemsize
    scalars = 8 + 3 * 4  # action (int64); reward, done and timeout (float32)
    return obs * (1 if optimize_memory_usage else 2) + scalars


def available_memory() -> int:
    """Bytes that this process can still allocate: the less of its machine's and its container's."""
    limits = [_machine()]
    for limit, usage in CGROUP_FILES:
        most, used = _number(Path(limit)), _number(Path(usage))
        if most is not None and used is not None:
            limits.append(most - used + _file_cache(Path(limit).parent / "memory.stat"))
    return max(min(limits), 0)


def _machine() -> int:
    """Free bytes of the machine."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS: total memory


def _file_cache(stat: Path) -> int:
    """Bytes of a container's file cache, which count as used and are freed on demand."""
    if not stat.is_file():
        return 0
    fields = dict(line.split() for line in stat.read_text().splitlines())
    return int(fields.get("inactive_file", 0))


def _number(file: Path) -> int | None:
    """The number in a file, None if it holds none."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no container, or "max": no limit
        return None


def replay_size(hyperparams: Hyperparams) -> int:
    """Steps of a run's replay buffer: `buffer_size`, or all steps of the run if those are fewer."""
    return min(hyperparams.buffer_size, hyperparams.n_timesteps + hyperparams.n_envs)


def gpu_has_room(size: int, device: th.device) -> bool:
    """Whether a device is a GPU with `size` bytes free besides `RESERVE`."""
    return device.type == "cuda" and th.cuda.mem_get_info(device)[0] - RESERVE > size


def largest_replay(observation_space: spaces.Box, hyperparams: Hyperparams) -> int:
    """Steps of the largest `FrameReplayBuffer` that fits into main memory."""
    step_bytes = bytes_per_step(observation_space, hyperparams.frame_stack)
    return max(available_memory() - RESERVE, 0) // step_bytes


def check_replay(
    observation_space: spaces.Box,
    hyperparams: Hyperparams,
    file: Path,
    frames: bool,
    device: th.device | str = "cpu",
) -> None:
    """Refuse a replay buffer that does not fit into memory.

    :param file: of the recipe, for the message
    :param frames: `FrameReplayBuffer`, unless the recipe names a `replay_buffer_class`
    :raises UserError: it does not fit; the message has the largest `buffer_size` that does
    """
    size = replay_size(hyperparams)
    if frames and not hyperparams.replay_buffer_class:
        step_bytes = bytes_per_step(observation_space, hyperparams.frame_stack)
        if gpu_has_room(size * step_bytes, get_device(device)):
            return
    else:
        step_bytes = bytes_per_stacked_step(observation_space, hyperparams.optimize_memory_usage)
    free = max(available_memory() - RESERVE, 0)
    if size * step_bytes > free:
        fits = free // step_bytes // 1000 * 1000
        raise UserError(
            f"{file}: a replay of {size:,} steps needs {size * step_bytes / 1e9:.1f} GB and"
            f" {free / 1e9:.1f} GB are free; the largest that fits is {fits:,}"
            f" (set buffer_size: {fits} in a copy of the file)"
        )
