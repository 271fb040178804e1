"""A replay in a folder: plain arrays, nothing pickled, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch as th

from custom.buffers import FrameReplayBuffer

PART = 2**26  # bytes moved at once


def save_replay(buffer: FrameReplayBuffer, folder: Path) -> None:
    """Write a replay; an older one in the folder stays until the new one is whole.

    :raises OSError: no room or no permission; what was there before is unharmed
    """
    partial, old = (folder.with_name(f".{folder.name}.{end}") for end in ("partial", "old"))
    if old.exists() and not folder.exists():
        old.rename(folder)  # broken off between the two renames
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, tensor in _tensors(buffer).items():
            _write(tensor[: _used(buffer, name)], partial / f"{name}.npy")
        (partial / "replay.json").write_text(json.dumps(_shape(buffer)))
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def load_replay(buffer: FrameReplayBuffer, folder: Path, memory_map: bool = False) -> None:
    """Fill a buffer with a saved replay of the same size, environments and frames.

    :param memory_map: leave the frames in their file, to be read where they are sampled; changes
        stay in memory. Only for a replay on the CPU that was full when it was saved
    :raises ValueError: the folder holds another kind of replay, or is damaged
    """
    tensors = _tensors(buffer)
    try:
        shape = json.loads((folder / "replay.json").read_text())
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in tensors}
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: is no saved replay ({error})") from None
    for key, own in _shape(buffer).items():
        if key != "steps" and shape.get(key) != own:
            raise ValueError(f"{folder}: {key} is {shape.get(key)}, this replay's is {own}")
    ring = buffer.ring
    if memory_map:
        if arrays["frames"].shape != tuple(ring.frames.shape) or buffer.storage.type != "cpu":
            raise ValueError(f"{folder}: only a full replay on the CPU can be memory-mapped")
        ring.frames = th.from_numpy(arrays.pop("frames"))
    for name, array in arrays.items():
        if array.shape[1:] != tuple(tensors[name].shape[1:]) or (
            name != "ends" and len(array) > len(tensors[name])
        ):
            raise ValueError(f"{folder}: {name} has the shape {array.shape}")
    ring.ends = ring.ends.new_zeros(arrays["ends"].shape)
    ring.end_of.fill_(-1)  # also where nothing is loaded
    for name, array in arrays.items():
        _read(array, _tensors(buffer)[name])
    ring.count.fill_(int(shape["steps"]))
    buffer.restart()


def _tensors(buffer: FrameReplayBuffer) -> dict[str, th.Tensor]:
    ring = buffer.ring
    return {
        "frames": ring.frames,
        "ends": ring.ends,
        "facts": buffer.facts,
        "older": ring.older,
        "end_of": ring.end_of,
    }


def _used(buffer: FrameReplayBuffer, name: str) -> int:
    """Rows of a tensor that hold anything yet."""
    if name == "ends" or buffer.full:
        return len(_tensors(buffer)[name])
    return buffer.ring.used_rows() if name == "frames" else max(buffer.pos, 1)


def _shape(buffer: FrameReplayBuffer) -> dict[str, int]:
    return {
        "steps": buffer.ring.added,
        "buffer_size": buffer.buffer_size,
        "n_envs": buffer.n_envs,
        "frame_stack": buffer.frame_stack,
        "pixels": buffer.ring.frames.shape[1],
    }


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
