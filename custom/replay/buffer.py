"""A replay buffer that stores each frame once, as in Mnih et al. 2015, instead of eight times.

A step with 4 stacked frames of 84 x 84 takes 7.1 KB instead of the 56.4 KB of SB3's `ReplayBuffer`.
The samples are the same.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from custom.replay.ring import STEPS_PER_END, FrameRing, write, zeros

Array = npt.NDArray[Any]
RESERVE = 10**9  # bytes for the program, the networks and the evaluation
ACTION, REWARD, DONE, TIMEOUT = range(4)  # columns of `facts`; float32 holds each exactly
FACTS = 4  # number of columns
Places = tuple[th.Tensor, th.Tensor]  # (B,), int64: step modulo buffer_size, and environment


class Batch(NamedTuple):
    """Transitions as SB3's `ReplayBufferSamples`, with what prioritized replay adds.

    :param discounts: (B, 1), of the next states' values; None: gamma
    :param weights: (B, 1), importance weights; None: all are 1
    :param places: of the transitions in the replay buffer; None: an SB3 buffer
    """

    observations: th.Tensor
    actions: th.Tensor
    next_observations: th.Tensor
    dones: th.Tensor
    rewards: th.Tensor
    discounts: th.Tensor | None = None
    weights: th.Tensor | None = None
    places: Places | None = None


def bytes_per_step(observation_space: spaces.Space[Any], frame_stack: int) -> int:
    """Bytes that `FrameReplayBuffer` keeps for one step of one environment."""
    assert isinstance(observation_space, spaces.Box)
    frame = int(np.prod(observation_space.shape)) // frame_stack  # uint8
    index = 1 + 4  # `older` and `end_of` of `FrameRing`
    return frame + frame // STEPS_PER_END + 4 * FACTS + index


def gpu_has_room(size: int, device: th.device) -> bool:
    """Whether a device is a GPU with `size` bytes free besides `RESERVE`."""
    return device.type == "cuda" and th.cuda.mem_get_info(device)[0] - RESERVE > size


class FrameReplayBuffer(ReplayBuffer):
    """Returns the samples of SB3's `ReplayBuffer` or `NStepReplayBuffer` for equal random numbers.

    Observations are the stacks of `VecFrameStack`: the oldest frame first, blank frames before the
    first frame of an episode. Frames lie on the samples' device if they fit there, else in main
    memory. Arguments that are not listed are those of SB3's class.

    :param buffer_size: steps of all environments together
    :param observation_space: (frame_stack * channels, height, width), uint8
    :param device: of the samples
    :param frame_stack: frames in an observation
    :param n_steps: rewards in a return (Sutton 1988); above 1, samples have `discounts`
    :param gamma: discount per step, for `n_steps` above 1
    :param repeat_first: stacks repeat an episode's first frame before it, instead of blank frames
    :raises ValueError: `observation_space` is not one of stacked frames; from `add`: an observation
        does not continue the stack before it
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: th.device | str = "auto",
        n_envs: int = 1,
        handle_timeout_termination: bool = True,
        frame_stack: int = 4,
        n_steps: int = 1,
        gamma: float = 0.99,
        repeat_first: bool = False,
    ) -> None:
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.handle_timeout_termination = handle_timeout_termination
        self.frame_stack, self.n_steps, self.gamma = frame_stack, n_steps, gamma
        shape, dtype = self.obs_shape, observation_space.dtype
        if dtype != np.uint8 or len(shape) != 3 or shape[0] % frame_stack:
            raise ValueError(
                f"observations {shape} of {dtype} are no {frame_stack} stacked frames"
                " (channels first, uint8)"
            )
        size = self.buffer_size * n_envs * bytes_per_step(observation_space, frame_stack)
        self.storage = self.device if gpu_has_room(size, self.device) else th.device("cpu")
        pixels = int(np.prod(self.obs_shape)) // frame_stack
        self.ring = FrameRing(
            self.buffer_size, n_envs, frame_stack, pixels, self.storage, repeat_first
        )
        self.facts = zeros(self.storage, self.buffer_size, n_envs, FACTS, dtype=np.float32)
        powers = gamma ** np.arange(n_steps + 1, dtype=np.float32)
        self._powers = th.as_tensor(powers, device=self.storage)

    def extra(self) -> dict[str, th.Tensor]:
        """Content besides that of steps, by name."""
        return {}

    def set_extra(self, extra: dict[str, th.Tensor]) -> None:
        """Set what `extra` returned, once the steps are loaded."""

    def restart(self) -> None:
        """Set positions and counters after `tensors` were loaded."""
        added = int(self.ring.count)
        self.pos, self.full = added % self.buffer_size, added >= self.buffer_size
        ended = self.facts[self.pos - 1, :, DONE].cpu().numpy() > 0
        self.ring.restart(ended if added else np.ones(self.n_envs, dtype=bool))

    def cut_off(self) -> None:
        """Truncate all episodes at the newest step; the next step starts new ones."""
        if self.ring.added:
            newest = self.facts[self.pos - 1]
            newest[:, TIMEOUT] = th.where(newest[:, DONE] > 0, newest[:, TIMEOUT], 1.0)
            self.ring.restart(np.ones(self.n_envs, dtype=bool))

    def reset(self) -> None:
        """Remove all steps."""
        self.ring.end_of.fill_(-1)
        self.ring.count.zero_()
        self.restart()

    def add(
        self,
        obs: Array,
        next_obs: Array,
        action: Array,
        reward: Array,
        done: Array,
        infos: list[dict[str, Any]],
    ) -> None:
        """Add a step of every environment; the arguments are SB3's, (n_envs, ...)."""
        shape = (self.n_envs, self.frame_stack, -1)
        self.ring.append(obs.reshape(shape), next_obs.reshape(shape)[:, -1], done)
        facts = np.zeros((self.n_envs, FACTS), dtype=np.float32)
        facts[:, ACTION], facts[:, REWARD], facts[:, DONE] = action.reshape(-1), reward, done
        if self.handle_timeout_termination:
            facts[:, TIMEOUT] = [info.get("TimeLimit.truncated", False) for info in infos]
        write(self.facts[self.pos], facts)
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full, self.pos = True, 0

    def sample(  # type: ignore[override]  # more than SB3's samples
        self, batch_size: int, env: VecNormalize | None = None, on_device: bool = False
    ) -> Batch:
        """A batch for a gradient step, with importance weights.

        :param env: not used: the learner refuses `VecNormalize`
        :param on_device: as of `draw`
        """
        places = self.draw(batch_size, on_device)
        samples = (None if x is None else x.to(self.device) for x in self.gather(*places))
        moved = ReplayBufferSamples(*samples)  # type: ignore[arg-type]  # discounts may be None
        return Batch(*moved, self.weights(places), places)

    def weights(self, places: Places) -> th.Tensor | None:
        """Importance weights, (B, 1); None: all are 1."""
        return None

    def update_priorities(self, places: Places, errors: th.Tensor) -> None:
        """Set the priorities of a batch by its errors, (B,); does nothing without priorities."""

    def prepare(self) -> None:
        """Call it before drawing on the device; does nothing without priorities."""

    def draw(self, batch_size: int, on_device: bool = False) -> Places:
        """Random places, uniformly.

        :param on_device: use the device's generator, without waiting for the device; else NumPy's,
            with the same calls as SB3's `ReplayBuffer`
        """
        if on_device:
            uniform = th.rand(2, batch_size, dtype=th.float64, device=self.storage)
            size = self.ring.count.clamp(max=self.buffer_size)
            return (uniform[0] * size).long(), (uniform[1] * self.n_envs).long()
        positions = np.random.randint(0, self.size(), size=batch_size)
        envs = np.random.randint(0, high=self.n_envs, size=batch_size)
        return (
            th.as_tensor(positions).to(self.storage, non_blocking=True),
            th.as_tensor(envs).to(self.storage, non_blocking=True),
        )

    def gather(self, positions: th.Tensor, envs: th.Tensor) -> ReplayBufferSamples:
        """The transitions at some places; tensor operations only, on the storage's device.

        :param positions: (B,), int64, in [0, size)
        :param envs: (B,), int64
        :return: observations (B, frame_stack * channels, height, width), all else (B, 1)
        """
        first_frames = last_frames = self.ring.window(positions, envs)
        first = last = self.facts[positions, envs]
        rewards, discounts = first[:, REWARD], None
        if self.n_steps > 1:
            rewards, steps, last_positions = self._returns(positions, envs)
            last = self.facts[last_positions, envs]
            last_frames = self.ring.window(last_positions, envs)
            discounts = self._powers[steps].reshape(-1, 1)
        return ReplayBufferSamples(
            observations=first_frames[:, :-1].reshape(-1, *self.obs_shape),
            actions=first[:, ACTION].long().reshape(-1, 1),
            next_observations=last_frames[:, 1:].reshape(-1, *self.obs_shape),
            dones=(last[:, DONE] * (1 - last[:, TIMEOUT])).reshape(-1, 1),
            rewards=rewards.reshape(-1, 1),
            discounts=discounts,
        )

    def _returns(self, positions: th.Tensor, envs: th.Tensor) -> tuple[th.Tensor, ...]:
        """Discounted sum of up to `n_steps` rewards, their number, and the position of the last.

        Each is (B,). A return ends early where its episode ends, or at the newest step.
        """
        newest = (self.ring.count - 1) % self.buffer_size
        going = th.ones(len(positions), device=self.storage)
        total, length, last = th.zeros_like(going), th.zeros_like(positions), positions
        for step in range(self.n_steps):
            position = (positions + step) % self.buffer_size
            facts = self.facts[position, envs]
            total = total + facts[:, REWARD] * self._powers[step] * going
            length = length + going.long()
            last = th.where(going > 0, position, last)
            # In the ring, the oldest step follows the newest one.
            ends = (facts[:, DONE] > 0) | (facts[:, TIMEOUT] > 0) | (position == newest)
            going = going * (~ends).float()
        return total, length, last
