"""Gradient steps and greedy actions of a DQN, on memory that stays where it is.

The arithmetic is SB3's. What differs is where numbers lie and in how many calls they are computed:
scaled observations in buffers that are used again, weights in channels_last, a fused optimizer, on
a GPU each step as one graph, and a loss that nobody waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.dqn.dqn import DQN
from stable_baselines3.dqn.policies import QNetwork
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from custom.buffers import FrameReplayBuffer
from custom.engine import Engine
from custom.frames import write
from custom.graphs import Captured
from custom.inputs import Inputs
from custom.noisy import draw_noise, noise_in, noisy_layers
from custom.policies import AtariQNetwork
from custom.prioritized import PrioritizedFrameReplayBuffer
from custom.rules import Outputs, Rule

CLIP_EPSILON = 1e-6  # that PyTorch adds to the norm before it divides


class Values(NamedTuple):
    """What a gradient step computes before it changes the weights."""

    outputs: Outputs
    loss: th.Tensor
    gradient_norm: th.Tensor


Guard = Callable[[Values], None]


def can_be_captured(model: DQN) -> bool:
    """The replay is on the GPU with the network, and the optimizer never asks for a value."""
    buffer = model.replay_buffer
    return (
        model.device.type == "cuda"
        and isinstance(buffer, FrameReplayBuffer)
        and buffer.storage == buffer.device
        and takes_scaled(model.q_net)
        and all("capturable" in group for group in model.policy.optimizer.param_groups)
    )


def takes_scaled(network: QNetwork) -> bool:
    """Whether a network is features and values, as SB3's, and not a forward of its own."""
    return type(network).forward is QNetwork.forward


def values_of(network: QNetwork, scaled: th.Tensor) -> th.Tensor:
    """As the network's forward, without another division: (B, A)."""
    q: th.Tensor = network.q_net(network.features_extractor(scaled))
    return q


def outputs_of(network: QNetwork, features: th.Tensor) -> th.Tensor:
    """Of the head: (B, A), or the distributions of which action values are made, (B, N * A)."""
    head = network.q_net[0] if isinstance(network, AtariQNetwork) else network.q_net
    outputs: th.Tensor = head(features)
    return outputs


class Update:
    """Gradient steps of a model, whose replay, networks and optimizer it uses.

    :param rule: target and loss
    :param batch_size: transitions of a step
    """

    def __init__(self, model: DQN, engine: Engine, rule: Rule, batch_size: int) -> None:
        self.model = model
        self.rule = rule
        self.batch_size = batch_size
        # Called with what a step computed, before the weights change; on a GPU it would wait.
        self.guard: Guard | None = None
        fast = engine.update == "fast" and takes_scaled(model.q_net)
        self._bf16 = engine.precision == "bf16"
        dtype = th.bfloat16 if self._bf16 else th.float32
        self._inputs = Inputs(model, batch_size, copies=2, dtype=dtype) if fast else None
        self._parameters = list(model.q_net.parameters())
        self._noise = noisy_layers(model.q_net)
        self._target_noise = noisy_layers(model.q_net_target)
        self._loss = th.zeros((), device=model.device)
        self._norm = th.zeros((), device=model.device)
        self._losses = 0
        captured = fast and can_be_captured(model)
        self._graph = Captured(self._on_device, "update", model.device) if captured else None

    def __call__(self, gradient_steps: int) -> None:
        """Make some gradient steps."""
        buffer = self.model.replay_buffer
        assert buffer is not None
        with noise_in([*self._noise, *self._target_noise]):
            for _ in range(gradient_steps):
                if not isinstance(buffer, FrameReplayBuffer):
                    self._learn(buffer.sample(self.batch_size))
                elif not self._by_graph(buffer):
                    self._learn_at(buffer, *buffer.draw(self.batch_size))
        self._losses += gradient_steps

    @property
    def is_captured(self) -> bool:
        """Steps run as a graph, in which nothing can be asked."""
        return self._graph is not None and not self._graph.failed

    def _by_graph(self, buffer: FrameReplayBuffer) -> bool:
        if self._graph is None:
            return False
        buffer.prepare()
        return self._graph(key=(id(buffer), buffer.ring.ends.data_ptr()))

    def mean_loss_and_norm(self) -> tuple[float, float]:
        """Means of losses and gradient norms since this was last asked; it waits for the device."""
        n = max(self._losses, 1)
        means = float(self._loss) / n, float(self._norm) / n
        self._loss.zero_()
        self._norm.zero_()
        self._losses = 0
        return means

    def _on_device(self) -> None:
        buffer = self.model.replay_buffer
        assert isinstance(buffer, FrameReplayBuffer)
        self._learn_at(buffer, *buffer.draw_on_device(self.batch_size))

    def _learn_at(self, buffer: FrameReplayBuffer, positions: th.Tensor, envs: th.Tensor) -> None:
        batch = buffer.to_device(buffer.gather(positions, envs))
        if not isinstance(buffer, PrioritizedFrameReplayBuffer):
            self._learn(batch)
            return
        weights = buffer.weights(positions, envs).to(buffer.device)
        errors = self._learn(batch, weights)
        buffer.update_priorities(positions, envs, errors.to(buffer.storage))

    def _learn(self, batch: ReplayBufferSamples, weights: th.Tensor | None = None) -> th.Tensor:
        """One step; returns how wrong the values were, (B,)."""
        model, optimizer = self.model, self.model.policy.optimizer
        outputs = self._outputs(batch)
        discount = model.gamma if batch.discounts is None else batch.discounts
        losses, errors = self.rule(outputs, batch, discount)
        loss = (losses if weights is None else weights * losses).mean()
        for parameter in self._parameters:
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if self.guard is not None and not norm.is_cuda:
            self.guard(Values(outputs, loss.detach(), norm))
        # On a CPU a look costs nothing; a factor of 1 is spared, to the bit.
        if norm.is_cuda or not norm + CLIP_EPSILON <= model.max_grad_norm:
            clip_grads_with_norm_(self._parameters, model.max_grad_norm, norm)
        optimizer.step()
        self._loss += loss.detach()
        self._norm += norm
        return errors

    def _outputs(self, batch: ReplayBufferSamples) -> Outputs:
        model, rule = self.model, self.rule
        now, following = batch.observations, batch.next_observations
        if self._inputs is not None:
            now, following = self._inputs.scale(now, 0), self._inputs.scale(following, 1)
        with th.no_grad():
            draw_noise(self._target_noise)
            t = self._output(model.q_net_target, following)
            target_tm1 = self._output(model.q_net_target, now) if rule.asks_target_tm1 else None
            draw_noise(self._noise)
            online_t = self._output(model.q_net, following) if rule.asks_online_t else None
        draw_noise(self._noise)  # each use has noise of its own (Fortunato et al. 2018, eq. 16)
        return Outputs(self._output(model.q_net, now), t, online_t, target_tm1)

    def _output(self, network: QNetwork, observations: th.Tensor) -> th.Tensor:
        """Of the head, in float32."""
        kind = self.model.device.type
        with th.autocast(kind, th.bfloat16, enabled=self._bf16, cache_enabled=False):
            if self._inputs is None:
                features = network.extract_features(observations, network.features_extractor)
            else:
                features = network.features_extractor(observations)
            return outputs_of(network, features).float()


class Actor:
    """Greedy actions of a model for observations of a fixed number of environments.

    Noisy layers take new noise for each step.
    """

    def __init__(self, model: DQN, n_envs: int) -> None:
        self.model = model
        self._inputs = Inputs(model, n_envs, copies=1)
        shape = (n_envs, *model.observation_space.shape)  # type: ignore[misc]  # a Box has one
        self._obs = th.empty(shape, dtype=th.uint8, device=model.device)
        self._actions = th.empty(n_envs, dtype=th.int64, device=model.device)
        self._noise = noisy_layers(model.q_net)
        captured = model.device.type == "cuda"
        name = "choice of actions"
        self._graph = Captured(self._on_device, name, model.device) if captured else None

    def __call__(self, observations: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """The actions, (n_envs,), of largest value."""
        write(self._obs, observations)
        with noise_in(self._noise):
            if self._graph is None or not self._graph():
                self._on_device()
        actions: npt.NDArray[np.int64] = self._actions.cpu().numpy().copy()
        return actions

    @th.no_grad()
    def _on_device(self) -> None:
        draw_noise(self._noise)
        q = values_of(self.model.q_net, self._inputs.scale(self._obs))
        th.argmax(q, dim=1, out=self._actions)
