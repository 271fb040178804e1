"""Proportional prioritized replay (Schaul et al. 2016) over `FrameReplayBuffer`."""

import math
from typing import Any

import numpy as np
import torch as th

from custom.replay.buffer import FrameReplayBuffer, Places

EPSILON = 1e-6  # keeps priorities above 0 (Schaul et al. 2016, section 3.3)


class SumTree:
    """A binary tree of sums: draws or sets a batch of priorities in O(log N) tensor operations.

    :param size: number of priorities, all 0 at first
    """

    def __init__(self, size: int, device: th.device) -> None:
        self.size = size
        self.depth = max(math.ceil(math.log2(size)), 0)
        self.leaves = 2**self.depth
        # Node 1 is the root, 2 i and 2 i + 1 are the children of i, the leaves come last.
        self.nodes = th.zeros(2 * self.leaves, dtype=th.float64, device=device)

    @property
    def total(self) -> th.Tensor:
        """The sum of all priorities, on the device."""
        return self.nodes[1]

    def get(self, leaves: th.Tensor) -> th.Tensor:
        """Priorities of the leaves with these indices, (B,)."""
        return self.nodes[self.leaves + leaves]

    def set(self, leaves: th.Tensor, priorities: th.Tensor) -> None:
        """Set the priorities of some leaves; a leaf that occurs twice gets one of its values.

        :param leaves: (B,), int64
        :param priorities: (B,), at least 0
        """
        nodes = self.leaves + leaves
        self.nodes[nodes] = priorities.to(self.nodes.dtype)
        for _ in range(self.depth):
            nodes = nodes // 2
            self.nodes[nodes] = self.nodes[2 * nodes] + self.nodes[2 * nodes + 1]

    def draw(self, shares: th.Tensor) -> th.Tensor:
        """The leaves at which the cumulative sum of priorities exceeds a share of the total.

        :param shares: (B,), float64 in [0, 1)
        :return: (B,), int64; none has priority 0, unless all have
        """
        nodes: th.Tensor = th.ones_like(shares, dtype=th.int64)
        remaining = shares * self.total
        for _ in range(self.depth):
            nodes = 2 * nodes
            left, right = self.nodes[nodes], self.nodes[nodes + 1]
            go_right = (remaining >= left) & (right > 0)  # rounding may lead to an empty subtree
            remaining = remaining - left * go_right
            nodes = nodes + go_right.long()
        leaves: th.Tensor = nodes - self.leaves
        return leaves


class PrioritizedFrameReplayBuffer(FrameReplayBuffer):
    """Draws transitions in proportion to ``(|error| + EPSILON)^alpha`` (Schaul et al. 2016, eq. 1).

    :param alpha: exponent of the priorities (0.6; 0.5 in Rainbow)
    :param beta: exponent of the importance weights at the start (0.4); `anneal` raises it to 1
    """

    def __init__(self, *args: Any, alpha: float = 0.6, beta: float = 0.4, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alpha, self.initial_beta = alpha, beta
        self.tree = SumTree(self.buffer_size * self.n_envs, self.storage)
        self.beta = th.full((), beta, dtype=th.float64, device=self.storage)
        self.largest = th.ones((), dtype=th.float64, device=self.storage)
        self._with_priority = 0  # steps whose transitions have a priority

    def anneal(self, progress: float) -> None:
        """Move beta linearly from its start to 1.

        :param progress: share of the run that is done, 0 to 1
        """
        self.beta.fill_(self.initial_beta + (1 - self.initial_beta) * progress)

    def prepare(self) -> None:
        """Give the steps added since the last call the largest priority so far."""
        first = max(self._with_priority, self.ring.added - self.buffer_size)
        if first == self.ring.added:
            return
        new = th.arange(first * self.n_envs, self.ring.added * self.n_envs, device=self.storage)
        self.tree.set(new % self.tree.size, self.largest.expand(len(new)))
        self._with_priority = self.ring.added

    def draw(self, batch_size: int, on_device: bool = False) -> Places:
        """One place from each of B equal parts of the total priority (their appendix B.2.1).

        :param on_device: as of `FrameReplayBuffer.draw`; call `prepare` first
        """
        if on_device:
            uniform = th.rand(batch_size, dtype=th.float64, device=self.storage)
        else:
            self.prepare()
            uniform = th.as_tensor(np.random.random(batch_size)).to(self.storage)
        strata = th.arange(batch_size, device=self.storage)
        leaves = self.tree.draw((strata + uniform) / batch_size)
        return leaves // self.n_envs, leaves % self.n_envs

    def weights(self, places: Places) -> th.Tensor:
        """Importance weights ``(N P)^-beta``, divided by the largest of the batch (section 3.4).

        :return: (B, 1), float32; N cancels out
        """
        positions, envs = places
        priorities: th.Tensor = self.tree.get(positions * self.n_envs + envs)
        weights = th.pow(priorities / priorities.min(), -self.beta)
        return weights.float().reshape(-1, 1).to(self.device)

    def update_priorities(self, places: Places, errors: th.Tensor) -> None:
        """Set the priorities of a batch.

        :param errors: (B,), TD errors or losses
        """
        positions, envs = places
        errors = errors.to(self.storage)
        priorities = (errors.abs().double() + EPSILON) ** self.alpha
        self.tree.set(positions * self.n_envs + envs, priorities)
        self.largest.copy_(th.maximum(self.largest, priorities.max()))

    def extra(self) -> dict[str, th.Tensor]:
        """All priorities and the largest one so far."""
        self.prepare()
        used = th.arange(self.size() * self.n_envs, device=self.storage)
        return {"priorities": self.tree.get(used), "largest": self.largest}

    def set_extra(self, extra: dict[str, th.Tensor]) -> None:
        """Set the priorities of the steps that were loaded."""
        used = th.arange(len(extra["priorities"]), device=self.storage)
        self.tree.set(used, extra["priorities"].to(self.storage))
        self.largest.copy_(extra["largest"])

    def restart(self) -> None:
        """As `FrameReplayBuffer`'s; nothing has a priority until `set_extra`."""
        super().restart()
        self.tree.nodes.zero_()
        self._with_priority = self.ring.added
