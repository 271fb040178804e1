"""A ring of single frames, from which stacks are gathered by index.

Consecutive stacks share frames. Stored once and in order, a stack is the index of its newest frame.
The last frame of an episode is in no later stack; these few are stored separately, as `ends`.
Everything is a tensor, so it may be in a GPU's memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th

Array = npt.NDArray[Any]
STEPS_PER_END = 64  # the room for last frames doubles if episodes are shorter


def zeros(storage: th.device, *shape: int, dtype: Any = np.uint8) -> th.Tensor:
    """Zeros; on the CPU, memory is taken only as it is filled."""
    if storage.type == "cpu":
        return th.from_numpy(np.zeros(shape, dtype=dtype))
    return th.from_numpy(np.zeros(0, dtype=dtype)).to(storage).new_zeros(shape)


def write(target: th.Tensor, values: Array) -> None:
    """Copy into a tensor, without waiting if it is a GPU's."""
    if target.is_cuda:  # PyTorch keeps the pinned memory until the copy is done
        target.copy_(th.as_tensor(values).pin_memory(), non_blocking=True)
    elif target.device.type == "cpu":
        np.copyto(target.numpy(), values)
    else:
        target.copy_(th.as_tensor(values))


class FrameRing:
    """The frames of the last steps of several environments.

    :param steps: steps of each environment that are kept
    :param frame_stack: frames in a stack
    :param pixels: bytes of a frame
    :param storage: device of the tensors
    :param repeat_first: an episode's first frame is also before it, instead of blank frames
    """

    def __init__(
        self,
        steps: int,
        n_envs: int,
        frame_stack: int,
        pixels: int,
        storage: th.device,
        repeat_first: bool = False,
    ) -> None:
        self.steps, self.n_envs, self.frame_stack = steps, n_envs, frame_stack
        self.repeat_first = repeat_first
        # A slot for each step, for the frames before the oldest one, and for one after the newest.
        self._length = steps + frame_stack
        self.frames = zeros(storage, self._length * n_envs + 1, pixels)  # the last stays blank
        self.older = zeros(storage, steps, n_envs)  # earlier frames of the episode in the stack
        self.ends = zeros(storage, max(steps * n_envs // STEPS_PER_END, 16), pixels)
        self.end_of = zeros(storage, steps, n_envs, dtype=np.int32) - 1  # row of `ends`, or -1
        self.count = th.zeros((), dtype=th.int64, device=storage)  # steps ever added
        self._back = th.arange(frame_stack - 1, -2, -1, device=storage)
        self.restart(np.ones(n_envs, dtype=bool))

    def tensors(self) -> dict[str, th.Tensor]:
        """The content, by name; the first dimension is the step, except in ``ends``."""
        names = ("frames", "ends", "older", "end_of")
        return {name: getattr(self, name) for name in names}

    def restart(self, ended: Array) -> None:
        """Continue after the newest step in the tensors.

        :param ended: (n_envs,), where an episode ended with that step
        """
        self.added = int(self.count)
        self._ended = ended
        self._end_of = self.end_of.cpu().numpy().copy()
        used = set(self._end_of[self._end_of >= 0].tolist())
        self._free = [end for end in range(len(self.ends)) if end not in used]
        self._older = self.older[(self.added - 1) % self.steps].cpu().numpy().copy()
        self._following = self._slot(self.added).cpu().numpy().copy()
        self._last: Array | None = None  # stacks of the newest step without their oldest frame

    def _slot(self, step: int) -> th.Tensor:
        """The frames of a step, (n_envs, pixels); steps are counted from the first."""
        start = (step + self.frame_stack - 1) % self._length * self.n_envs
        return self.frames[start : start + self.n_envs]

    def used_rows(self, steps: int) -> int:
        """Rows of `frames` in use after a number of steps."""
        if steps >= self.steps:
            return len(self.frames)
        return (steps + self.frame_stack) * self.n_envs

    def append(self, stacks: Array, following: Array, ended: Array) -> None:
        """Add a step.

        :param stacks: (n_envs, frame_stack, pixels)
        :param following: (n_envs, pixels), the newest frames after the step
        :param ended: (n_envs,), where an episode ended with the step
        :raises ValueError: a stack neither continues the last one nor begins an episode
        """
        pos = self.added % self.steps
        for env in np.flatnonzero(self._end_of[pos] >= 0):
            self._free.append(int(self._end_of[pos, env]))
            self._set_end(pos, int(env), -1)
        self._older = self._first(stacks) if self.added == 0 else self._continue(stacks)
        write(self.older[pos], self._older)
        self._last, self._following = np.array(stacks[:, 1:]), np.array(following)
        write(self._slot(self.added + 1), self._following)
        self._ended = np.asarray(ended, dtype=bool)
        self.added += 1
        self.count.fill_(self.added)

    def _first(self, stacks: Array) -> Array:
        for back in range(self.frame_stack):
            write(self._slot(-back), stacks[:, -1 - back])
        return np.full(self.n_envs, self.frame_stack - 1, dtype=np.uint8)

    def _continue(self, stacks: Array) -> Array:
        """A stack without the frame that followed the last step begins a new episode."""
        broken = (stacks[:, -1] != self._following).any(axis=1)
        for env in np.flatnonzero(broken):
            self._keep_end(int(env))
            write(self._slot(self.added)[env], stacks[env, -1])
        starts = broken | self._ended
        if starts.any():
            before = stacks[starts, -1:] if self.repeat_first else 0
            if (stacks[starts, :-1] != before).any():
                kind = "its first frame" if self.repeat_first else "blank frames"
                raise ValueError(f"an episode does not begin with {kind}, as its stacks should")
        if self._last is not None and (stacks[~starts, :-1] != self._last[~starts]).any():
            raise ValueError(
                f"an observation is not the one before with one frame more; is {self.frame_stack}"
                " the number of frames that are stacked?"
            )
        grown = np.minimum(self._older + 1, self.frame_stack - 1)
        return np.where(starts, 0, grown).astype(np.uint8)

    def _keep_end(self, env: int) -> None:
        """Keep the last frame of an episode, which is in no later stack."""
        if not self._free:
            capacity = len(self.ends)
            self.ends = th.cat([self.ends, th.zeros_like(self.ends)])
            self._free = list(range(capacity, 2 * capacity))
        end = self._free.pop()
        write(self.ends[end], self._following[env])
        self._set_end((self.added - 1) % self.steps, env, end)

    def _set_end(self, pos: int, env: int, end: int) -> None:
        self._end_of[pos, env] = end
        self.end_of[pos, env].fill_(end)

    def window(self, positions: th.Tensor, envs: th.Tensor) -> th.Tensor:
        """Stacks, each with the frame after it; tensor operations only.

        :param positions: (B,), int64: step modulo `steps`
        :param envs: (B,), int64
        :return: (B, frame_stack + 1, pixels), oldest first; before an episode frames are blank, or
            its first one
        """
        newest = self.count - 1
        step = newest - (newest - positions) % self.steps  # counted from the first
        older = self.older[positions, envs][:, None]
        back = self._back.minimum(older) if self.repeat_first else self._back
        slots = (step[:, None] - back + self.frame_stack - 1) % self._length
        rows = slots * self.n_envs + envs[:, None]
        if not self.repeat_first:
            rows = th.where(self._back > older, len(self.frames) - 1, rows)
        frames = self.frames.index_select(0, rows.flatten()).reshape(*rows.shape, -1)
        end = self.end_of[positions, envs]
        if not end.is_cuda:  # ends are few; on a GPU, counting them would wait for it
            few = (end >= 0).nonzero().flatten()
            frames[few, -1] = self.ends[end[few]]
            return frames
        last = self.ends.index_select(0, end.clamp(min=0))
        frames[:, -1] = th.where(end[:, None] >= 0, last, frames[:, -1])
        return frames
