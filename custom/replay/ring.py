"""A ring buffer of single frames, from which stacks are gathered by index.

Consecutive stacks share frames. Each frame is stored once, in order, so the index of its newest
frame identifies a stack. The frame after an episode's last step is in no later stack; these few
frames are stored separately, in `ends`. All content is tensors, so it may be in a GPU's memory.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th

Array = npt.NDArray[Any]
STEPS_PER_END = 64  # `ends` has a row for so many steps, and doubles when full


def zeros(storage: th.device, *shape: int, dtype: Any = np.uint8) -> th.Tensor:
    """Zeros; on the CPU, the system allocates memory only as it is written."""
    if storage.type == "cpu":
        return th.from_numpy(np.zeros(shape, dtype=dtype))
    return th.from_numpy(np.zeros(0, dtype=dtype)).to(storage).new_zeros(shape)


def write(target: th.Tensor, values: Array) -> None:
    """Copy an array into a tensor, without waiting if that is on a GPU."""
    if target.is_cuda:  # PyTorch keeps the pinned memory until the copy is done
        target.copy_(th.as_tensor(values).pin_memory(), non_blocking=True)
    elif target.device.type == "cpu":
        np.copyto(target.numpy(), values)
    else:
        target.copy_(th.as_tensor(values))


class FrameRing:
    """The frames of the newest steps of several environments.

    :param steps: capacity, in steps of each environment
    :param frame_stack: frames in a stack
    :param pixels: bytes of a frame
    :param storage: device of the tensors
    :param repeat_first: stacks repeat an episode's first frame before it, instead of blank frames
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
        # Slots of n_envs rows: frames before the oldest step, of each step, after the newest.
        self._length = steps + frame_stack
        self.frames = zeros(storage, self._length * n_envs + 1, pixels)  # the last row stays blank
        self.older = zeros(storage, steps, n_envs)  # earlier frames of the episode in the stack
        self.ends = zeros(storage, max(steps * n_envs // STEPS_PER_END, 16), pixels)
        self.end_of = zeros(storage, steps, n_envs, dtype=np.int32) - 1  # row of `ends`, or -1
        self.count = th.zeros((), dtype=th.int64, device=storage)  # steps ever added
        # Steps back from the newest frame of a stack, oldest first; -1 is the frame after the step.
        self._back = th.arange(frame_stack - 1, -2, -1, device=storage)
        self.restart(np.ones(n_envs, dtype=bool))

    @property
    def slots(self) -> th.Tensor:
        """Frames, (slots, n_envs, pixels), a view; those of step i are in slot i + frame_stack - 1.

        Steps count from 0, ever added, modulo the number of slots.
        """
        return self.frames[:-1].view(self._length, self.n_envs, -1)

    def restart(self, ended: Array) -> None:
        """Set what is kept on the host from the tensors.

        :param ended: (n_envs,), bool: an episode ended with the newest step
        """
        self.added = int(self.count)
        self._ended = ended
        self._end_of = self.end_of.cpu().numpy().copy()
        used = set(self._end_of[self._end_of >= 0].tolist())
        self._free = [end for end in range(len(self.ends)) if end not in used]  # rows of `ends`
        self._older = self.older[(self.added - 1) % self.steps].cpu().numpy().copy()
        self._following = self._slot(self.added).cpu().numpy().copy()
        self._last: Array | None = None  # stacks of the newest step without their oldest frame

    def _slot(self, step: int) -> th.Tensor:
        """Frames of a step, (n_envs, pixels), a view; steps count from 0, ever added."""
        return self.slots[(step + self.frame_stack - 1) % self._length]

    def append(self, stacks: Array, following: Array, ended: Array) -> None:
        """Add a step of every environment.

        :param stacks: (n_envs, frame_stack, pixels), the observations
        :param following: (n_envs, pixels), the newest frames of the next observations
        :param ended: (n_envs,), bool: an episode ended with the step
        :raises ValueError: a stack neither continues the one before nor starts an episode
        """
        pos = self.added % self.steps
        for env in np.flatnonzero(self._end_of[pos] >= 0):
            self._free.append(int(self._end_of[pos, env]))
            self._set_end(pos, int(env), -1)
        self._older = self._append_first(stacks) if self.added == 0 else self._append_next(stacks)
        write(self.older[pos], self._older)
        self._last, self._following = np.array(stacks[:, 1:]), np.array(following)
        write(self._slot(self.added + 1), self._following)
        self._ended = np.asarray(ended, dtype=bool)
        self.added += 1
        self.count.fill_(self.added)

    def _append_first(self, stacks: Array) -> Array:
        """Write all frames of the first stacks; return `older` of the step."""
        for back in range(self.frame_stack):
            write(self._slot(-back), stacks[:, -1 - back])
        return np.full(self.n_envs, self.frame_stack - 1, dtype=np.uint8)

    def _append_next(self, stacks: Array) -> Array:
        """Write frames that are not there yet; return `older` of the step.

        Only a new episode has another newest frame than the one that followed the step before.
        """
        is_new = (stacks[:, -1] != self._following).any(axis=1)
        for env in np.flatnonzero(is_new):
            self._store_end(int(env))
            write(self._slot(self.added)[env], stacks[env, -1])
        starts = is_new | self._ended
        before = stacks[:, -1:] if self.repeat_first else 0
        continued = stacks[:, :-1] if self._last is None else self._last
        if (stacks[:, :-1] != np.where(starts[:, None, None], before, continued)).any():
            kind = "its first frame" if self.repeat_first else "blank frames"
            raise ValueError(
                f"an observation does not continue the stack before it, nor has it {kind} before"
                f" its newest one; are {self.frame_stack} frames stacked?"
            )
        one_more = np.minimum(self._older + 1, self.frame_stack - 1)
        return np.where(starts, 0, one_more).astype(np.uint8)

    def _store_end(self, env: int) -> None:
        """Store the frame that followed an episode's last step in `ends`."""
        if not self._free:
            capacity = len(self.ends)
            self.ends = th.cat([self.ends, th.zeros_like(self.ends)])
            self._free = list(range(capacity, 2 * capacity))
        end = self._free.pop()
        write(self.ends[end], self._following[env])
        self._set_end((self.added - 1) % self.steps, env, end)

    def _set_end(self, pos: int, env: int, end: int) -> None:
        """Set `end_of` on the host and on the device."""
        self._end_of[pos, env] = end
        self.end_of[pos, env].fill_(end)

    def window(self, positions: th.Tensor, envs: th.Tensor) -> th.Tensor:
        """Stacks, each with the frame after it; tensor operations only.

        :param positions: (B,), int64: step modulo `steps`
        :param envs: (B,), int64
        :return: (B, frame_stack + 1, pixels), oldest first; frames before the episode are blank, or
            its first frame
        """
        newest = self.count - 1
        step = newest - (newest - positions) % self.steps  # counted as in `_slot`
        older = self.older[positions, envs][:, None]
        back = self._back.minimum(older) if self.repeat_first else self._back
        slots = (step[:, None] - back + self.frame_stack - 1) % self._length
        rows = slots * self.n_envs + envs[:, None]
        if not self.repeat_first:
            rows = th.where(self._back > older, len(self.frames) - 1, rows)
        frames = self.frames.index_select(0, rows.flatten()).reshape(*rows.shape, -1)
        end = self.end_of[positions, envs]
        if not end.is_cuda:  # few episodes end; on a GPU, `nonzero` would wait for it
            ended = (end >= 0).nonzero().flatten()
            frames[ended, -1] = self.ends[end[ended]]
            return frames
        last = self.ends.index_select(0, end.clamp(min=0))
        frames[:, -1] = th.where(end[:, None] >= 0, last, frames[:, -1])
        return frames
