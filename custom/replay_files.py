"""A replay in a folder: plain arrays, nothing pickled, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th

from custom.atomic import atomic_folder, restore, write_json
from custom.buffers import FrameReplayBuffer

PART = 2**26  # bytes moved at once


def save_replay(buffer: FrameReplayBuffer, folder: Path) -> None:
    """Write a replay; an older one in the folder stays until the new one is whole.

    :raises OSError: no room or no permission; what was there before is unharmed
    """
    with atomic_folder(folder) as partial:
        for name, tensor in buffer.tensors().items():
            _write(tensor[: _rows_of(buffer, name, buffer.ring.added)], partial / f"{name}.npy")
        write_json(partial / "replay.json", {"steps": buffer.ring.added, **buffer.shape()})


def load_replay(buffer: FrameReplayBuffer, folder: Path, memory_map: bool = False) -> None:
    """Fill a buffer with a saved replay of the same size, environments and frames.

    :param memory_map: leave the frames in their file, to be read where they are sampled; changes
        stay in memory. Only for a replay on the CPU that was full when it was saved
    :raises ValueError: the folder holds another kind of replay, or is damaged; the buffer is as
        before
    :raises OSError: it cannot be read
    """
    restore(folder)
    tensors, ring = buffer.tensors(), buffer.ring
    try:
        saved = dict(json.loads((folder / "replay.json").read_text()))
        steps = int(saved["steps"])
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in tensors}
    except (FileNotFoundError, ValueError, TypeError, KeyError, EOFError) as error:
        raise ValueError(f"{folder}: is no saved replay ({error})") from None
    for key, own in buffer.shape().items():
        if saved.get(key) != own:
            raise ValueError(f"{folder}: {key} is {saved.get(key)}, this replay's is {own}")
    for name, array in arrays.items():
        _check(folder, name, array, tensors[name], _rows_of(buffer, name, steps))
    end_of, older = arrays["end_of"], arrays["older"]
    ranges = end_of.min() >= -1, end_of.max() < len(arrays["ends"]), older.max() < ring.frame_stack
    if steps < 0 or not all(ranges):
        raise ValueError(f"{folder}: is damaged (steps, end_of or older is out of range)")
    if memory_map:
        if steps < buffer.buffer_size or buffer.storage.type != "cpu":
            raise ValueError(f"{folder}: only a full replay on the CPU can be memory-mapped")
        ring.frames = th.from_numpy(arrays.pop("frames"))
    ring.ends = ring.ends.new_zeros(arrays["ends"].shape)
    ring.end_of.fill_(-1)  # also where nothing is loaded
    for name, array in arrays.items():
        _read(array, buffer.tensors()[name])
    ring.count.fill_(steps)
    buffer.restart()


def _check(
    folder: Path, name: str, array: npt.NDArray[Any], tensor: th.Tensor, rows: int | None
) -> None:
    """Refuse what is not as it would have been saved."""
    wrong = array.dtype != tensor[:0].cpu().numpy().dtype or not len(array)
    wrong = wrong or array.shape[1:] != tuple(tensor.shape[1:])
    if wrong or (rows is not None and len(array) != rows):
        raise ValueError(f"{folder}: {name} has {array.dtype} {array.shape}, which does not fit")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{folder}: {name} has values that are not finite")


def _rows_of(buffer: FrameReplayBuffer, name: str, steps: int) -> int | None:
    """Rows of a tensor that hold anything after so many steps; None where it varies."""
    length = len(buffer.tensors()[name])
    if name == "ends":
        return None
    if name == "frames":
        return buffer.ring.used_rows(steps)
    return min(max(steps, 1), length)


def _rows(array: th.Tensor | npt.NDArray[np.generic]) -> int:
    return max(PART // max(array[0].nbytes, 1), 1)


def _write(tensor: th.Tensor, path: Path) -> None:
    empty = tensor[:0].cpu().numpy()
    header = np.lib.format.header_data_from_array_1_0(empty) | {"shape": tuple(tensor.shape)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in th.split(tensor, _rows(tensor)):
            file.write(part.cpu().numpy().data)
        file.flush()
        os.fsync(file.fileno())


def _read(array: npt.NDArray[np.generic], tensor: th.Tensor) -> None:
    rows = _rows(tensor)
    for start in range(0, len(array), rows):
        part = th.from_numpy(array[start : start + rows])
        tensor[start : start + len(part)].copy_(part)
