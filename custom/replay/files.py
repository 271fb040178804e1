"""Steps of a replay buffer in files: each file adds the steps since the one before; no pickle."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch as th

from custom.replay.buffer import FrameReplayBuffer
from custom.system.files import atomic_file


def save_steps(buffer: FrameReplayBuffer, first: int, path: Path) -> None:
    """Write the steps from `first` to the newest one, atomically.

    :param first: counted from the first step ever added; the buffer still holds it
    :raises OSError: no room or no permission
    """
    ring = buffer.ring
    number = ring.added - first
    # The newest step of the previous file may have become an episode's end since.
    steps = np.arange(max(first - 1, ring.added - ring.steps, 0), ring.added)
    rows = ring.end_of.cpu().numpy()[steps % ring.steps]
    place = np.argwhere(rows >= 0)
    ends = th.as_tensor(rows[place[:, 0], place[:, 1]].astype(np.int64))
    with atomic_file(path) as file:
        _write(file, [th.tensor([first, number])])
        _write(file, _parts(ring.slots, first, number + ring.frame_stack))
        _write(file, _parts(ring.older, first, number))
        _write(file, _parts(buffer.facts, first, number))
        _write(file, [th.from_numpy(np.stack([steps[place[:, 0]], place[:, 1]]))])
        _write(file, [ring.ends[ends.to(ring.ends.device)]])


def load_steps(buffer: FrameReplayBuffer, steps: int, paths: Sequence[Path]) -> None:
    """Load files into a buffer with the settings of the one that wrote them.

    :param steps: that were ever added
    :param paths: in the order in which they were written
    :raises OSError: a file cannot be read
    """
    ring = buffer.ring
    ring.count.fill_(steps)
    ring.end_of.fill_(-1)
    all_ends, used = [], 0
    for path in paths:
        with path.open("rb") as file:
            (first, _), frames, older, facts, (step, env), ends = (
                th.from_numpy(np.lib.format.read_array(file, allow_pickle=False)) for _ in range(6)
            )
        for target, values in ((ring.slots, frames), (ring.older, older), (buffer.facts, facts)):
            done = 0
            for part in _parts(target, int(first), len(values)):
                part.copy_(values[done : done + len(part)])
                done += len(part)
        rows = th.arange(used, used + len(ends), dtype=ring.end_of.dtype)
        held = step >= steps - ring.steps
        ring.end_of[step[held] % ring.steps, env[held]] = rows[held].to(ring.end_of.device)
        all_ends.append(ends)
        used += len(ends)
    if used > len(ring.ends):
        ring.ends = ring.ends.new_zeros(2 * used, ring.ends.shape[1])
    ring.ends[:used] = th.cat(all_ends).to(ring.ends.device)
    buffer.restart()


def _parts(tensor: th.Tensor, first: int, number: int) -> list[th.Tensor]:
    """Views of consecutive rows of a ring, at most two."""
    start = first % len(tensor)
    end = start + number
    return [tensor[start:end], tensor[: max(end - len(tensor), 0)]]


def _write(file: IO[Any], parts: list[th.Tensor]) -> None:
    """As `np.save` of all parts together, without a copy of them."""
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    empty = parts[0][:0].cpu().numpy()
    header = np.lib.format.header_data_from_array_1_0(empty) | {"shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for part in parts:
        for rows in th.split(part, 4096):  # from a GPU, each is copied
            file.write(rows.contiguous().cpu().numpy().data)
