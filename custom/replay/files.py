"""Save a replay buffer in a folder and load it: plain arrays, no pickle, atomic."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch as th

from custom.replay.buffer import FrameReplayBuffer
from custom.system.files import atomic_folder, restore, write_json

PART = 2**26  # bytes copied from a GPU at once


def save_replay(buffer: FrameReplayBuffer, folder: Path) -> None:
    """Write a replay buffer atomically; the folder's content stays until the new one is complete.

    :raises OSError: no room or no permission; the folder is unchanged then
    """
    steps = buffer.ring.added
    with atomic_folder(folder) as partial:
        for name, tensor in buffer.tensors().items():
            _write(tensor[: _rows_in_use(buffer, name, steps)], partial / f"{name}.npy")
        write_json(partial / "replay.json", {"steps": steps, **buffer.settings()})


def load_replay(buffer: FrameReplayBuffer, folder: Path) -> None:
    """Load a saved replay buffer into one with the same settings.

    :raises ValueError: the saved buffer has other settings, or is damaged; `buffer` is
        unchanged then
    :raises OSError: a file cannot be read
    """
    restore(folder)
    tensors, ring = buffer.tensors(), buffer.ring
    try:
        saved = dict(json.loads((folder / "replay.json").read_text()))
        steps = int(saved["steps"])
        files = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in tensors}
        loaded = {name: th.from_numpy(array) for name, array in files.items()}
    except (FileNotFoundError, ValueError, TypeError, KeyError, EOFError) as error:
        raise ValueError(f"{folder}: is not a saved replay ({error})") from None
    for key, value in buffer.settings().items():
        if saved.get(key) != value:
            raise ValueError(f"{folder}: {key} is {saved.get(key)}, this replay's is {value}")
    for name, new in loaded.items():
        rows = max(len(new), 1) if name == "ends" else _rows_in_use(buffer, name, steps)
        if new.dtype != tensors[name].dtype or new.shape != (rows, *tensors[name].shape[1:]):
            kind = f"{new.dtype} {tuple(new.shape)}"
            raise ValueError(f"{folder}: {name} has {kind}, which does not fit")
    end_of, older = loaded["end_of"], loaded["older"]
    in_range = (
        end_of.min() >= -1,
        end_of.max() < len(loaded["ends"]),
        older.max() < ring.frame_stack,
    )
    if steps < 0 or not all(in_range):
        raise ValueError(f"{folder}: is damaged (steps, end_of or older is out of range)")
    ring.ends = ring.ends.new_zeros(loaded["ends"].shape)
    ring.end_of.fill_(-1)  # for steps that the saved buffer has not filled
    for name, new in loaded.items():
        buffer.tensors()[name][: len(new)].copy_(new)
    ring.count.fill_(steps)
    buffer.restart()


def _rows_in_use(buffer: FrameReplayBuffer, name: str, steps: int) -> int:
    """Number of rows of a tensor in use after a number of steps."""
    length = len(buffer.tensors()[name])
    if name == "frames":
        return buffer.ring.used_rows(steps)
    return length if name == "ends" else min(max(steps, 1), length)


def _write(tensor: th.Tensor, path: Path) -> None:
    """As `np.save`, but copies a tensor on a GPU part by part, to save memory."""
    empty = tensor[:0].cpu().numpy()
    header = np.lib.format.header_data_from_array_1_0(empty) | {"shape": tuple(tensor.shape)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in th.split(tensor, max(PART // max(tensor[0].nbytes, 1), 1)):
            file.write(part.cpu().numpy().data)
        file.flush()
        os.fsync(file.fileno())
