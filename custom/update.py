"""Gradient steps and greedy actions of a DQN, on memory that stays where it is.

The arithmetic is SB3's. What differs is where numbers lie and in how many calls they are computed:
scaled observations in buffers that are used again, weights in channels_last, a fused optimizer, on
a GPU each step as one graph, and a loss that nobody waits for.
"""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from custom.buffers import Batch, FrameReplayBuffer
from custom.console import say
from custom.engine import Engine
from custom.frames import write
from custom.graphs import WARM_UPS, Captured
from custom.inputs import Inputs
from custom.loss import Loss, NextValues
from custom.nan_guard import NanGuard
from custom.noisy import draw_noise, noise_in, noisy_layers
from custom.policies import AtariQNetwork

CLIP_EPSILON = 1e-6  # that PyTorch adds to the norm before it divides
LARGEST_DIFFERENCE = 0.01  # of captured and eager steps, relative to how far the weights moved


def can_be_captured(policy: DQNPolicy, replay: object) -> bool:
    """The replay is on the GPU with the network, and the optimizer never asks for a value."""
    return (
        isinstance(replay, FrameReplayBuffer)
        and replay.device.type == "cuda"
        and replay.storage == replay.device
        and takes_scaled(policy.q_net)
        and all("capturable" in group for group in policy.optimizer.param_groups)
    )


def takes_scaled(network: QNetwork) -> bool:
    """Whether a network is features and values, as SB3's, and not a forward of its own."""
    return type(network).forward is QNetwork.forward


class Update:
    """Gradient steps of a policy's networks with its optimizer.

    :param normalizes: of the environment, where the replay is one of SB3's
    :param batch_size: transitions of a step
    :param gamma: discount of a step, where the batch has none of its own
    :param max_grad_norm: the gradient is scaled down to this norm
    :param guard: looks at each step before the weights change; on a GPU it would wait
    :param fixed: learn from this batch only, and leave the replay alone
    """

    def __init__(
        self,
        policy: DQNPolicy,
        replay: ReplayBuffer,
        loss: Loss,
        engine: Engine,
        *,
        normalizes: VecNormalize | None,
        batch_size: int,
        double_q: bool,
        gamma: float,
        max_grad_norm: float,
        guard: NanGuard,
        fixed: Batch | None = None,
    ) -> None:
        self.policy, self.replay, self.loss, self.engine = policy, replay, loss, engine
        self.batch_size, self.double_q, self.gamma = batch_size, double_q, gamma
        self.max_grad_norm, self.guard, self.fixed = max_grad_norm, guard, fixed
        self.normalizes = normalizes
        self.q_net, self.q_net_target = policy.q_net, policy.q_net_target
        self._bf16 = engine.precision == "bf16"
        dtype = th.bfloat16 if self._bf16 else th.float32
        fast = engine.update == "fast" and takes_scaled(policy.q_net)
        self._inputs = Inputs(policy.q_net, batch_size, copies=2, dtype=dtype) if fast else None
        self._parameters = list(policy.q_net.parameters())
        self._noise, self._target_noise = noisy_layers(self.q_net), noisy_layers(self.q_net_target)
        self._graph: Captured | None = None
        self._device = policy.q_net.device
        self._sums = th.zeros(2, device=self._device)  # of losses and of gradient norms
        self._steps = 0  # that are in them

    def step(self, on_device: bool = False) -> None:
        """One gradient step of DQN (Mnih et al. 2015, algorithm 1), from a batch to priorities."""
        batch = self._batch(on_device)
        now, following = self._scaled(batch)
        with th.no_grad():
            draw_noise(self._target_noise)
            q_t = self._values(self.q_net_target, following)
            soft = self.loss.munchausen is not None
            q_target_tm1 = self._values(self.q_net_target, now) if soft else None
            draw_noise(self._noise)
            q_chooser_t = self._values(self.q_net, following) if self.double_q else q_t
            discount = self.gamma if batch.discounts is None else batch.discounts
            q = NextValues(q_t, q_chooser_t, q_target_tm1)
            target = self.loss.target(batch, discount, q)
        draw_noise(self._noise)  # each use has noise of its own (Fortunato et al. 2018, eq. 16)
        q_tm1 = self._values(self.q_net, now)
        losses, errors = self.loss(q_tm1, batch.actions, target)
        loss = (losses if batch.weights is None else batch.weights * losses).mean()

        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if not norm.is_cuda:
            self.guard.check_update(self.q_net, q_t, q_tm1, loss, norm)
        # On a CPU a look costs nothing; a factor of 1 is spared, to the bit.
        if norm.is_cuda or not norm + CLIP_EPSILON <= self.max_grad_norm:
            clip_grads_with_norm_(self._parameters, self.max_grad_norm, norm)
        self.policy.optimizer.step()

        if isinstance(self.replay, FrameReplayBuffer) and batch.places is not None:
            self.replay.update_priorities(batch.places, errors)
        self._sums += th.stack([loss.detach(), norm])

    def _batch(self, on_device: bool) -> Batch:
        if self.fixed is not None:
            return self.fixed
        if isinstance(self.replay, FrameReplayBuffer):
            return self.replay.batch(self.batch_size, on_device)
        return Batch(*self.replay.sample(self.batch_size, env=self.normalizes))

    def _scaled(self, batch: Batch) -> tuple[th.Tensor, th.Tensor]:
        if self._inputs is None:
            return batch.observations, batch.next_observations
        following = self._inputs.scale(batch.next_observations, 1)
        return self._inputs.scale(batch.observations, 0), following

    def _values(self, network: QNetwork, observations: th.Tensor) -> th.Tensor:
        """Outputs of the head, in float32: (B, A), or (B, N * A) of distributions."""
        kind = self._device.type
        with th.autocast(kind, th.bfloat16, enabled=self._bf16, cache_enabled=False):
            if self._inputs is None:
                features = network.extract_features(observations, network.features_extractor)
            else:
                features = network.features_extractor(observations)
            head = network.q_net[0] if isinstance(network, AtariQNetwork) else network.q_net
            outputs: th.Tensor = head(features)
            return outputs.float()

    def __call__(self, gradient_steps: int) -> None:
        """Make some gradient steps."""
        with noise_in([*self._noise, *self._target_noise]):
            for _ in range(gradient_steps):
                if not self._by_graph():
                    self.step()
        self._steps += gradient_steps

    def mean_loss_and_norm(self) -> tuple[float, float]:
        """Means of losses and gradient norms since this was last asked; it waits for the device."""
        loss, norm = (self._sums / max(self._steps, 1)).tolist()
        self._sums.zero_()
        self._steps = 0
        return loss, norm

    @property
    def is_captured(self) -> bool:
        """Steps run as a graph, in which nothing can be asked."""
        return self._graph is not None and not self._graph.failed

    def _by_graph(self) -> bool:
        if self._graph is None:
            return False
        assert isinstance(self.replay, FrameReplayBuffer)
        self.replay.prepare()
        return self._graph(key=(id(self.replay), self.replay.ring.ends.data_ptr()))

    def capture(self, graph: type[Captured] = Captured) -> None:
        """Run steps as one graph, if captured and eager steps of copies change weights alike.

        :param graph: what captures them, for tests
        """
        difference = self.difference_of(graph)
        if difference is None:
            return
        if difference <= LARGEST_DIFFERENCE:
            self._graph = graph(lambda: self.step(on_device=True), "update", self._device)
        else:
            say(
                f"captured updates differ from eager ones by {difference:.1%} of their size:"
                " updates run eagerly, which is slower"
            )

    def difference_of(self, graph: type[Captured]) -> float | None:
        """How far captured and eager steps are apart, relative to how far they move the weights.

        Both begin with copies of weights and optimizer, and with the same seed, and learn from one
        batch. The mean over all weights is compared, because Adam turns the rounding of tiny
        gradients into whole steps of single weights.

        :return: None where steps cannot be captured, which has been said then
        """
        assert isinstance(self.replay, FrameReplayBuffer)
        with th.random.fork_rng(range(th.cuda.device_count())):
            self.replay.prepare()
            batch = self.replay.batch(self.batch_size, on_device=True)._replace(places=None)
            eager, captured = self._copy(batch), self._copy(batch)
            run = graph(captured.step, "update", self._device)
            for update, step in ((eager, eager.step), (captured, run)):
                th.manual_seed(0)
                with noise_in([*update._noise, *update._target_noise]):
                    for _ in range(WARM_UPS + 2):
                        step()
        if run.failed:
            return None
        start, one, other = (_vector(update.q_net) for update in (self, eager, captured))
        apart, moved = float((one - other).abs().mean()), float((one - start).abs().mean())
        return apart / max(moved, 1e-30)  # with a learning rate of 0 neither moves

    def _copy(self, batch: Batch) -> Update:
        policy = copy.deepcopy(self.policy)
        policy.optimizer._warned_capturable_if_run_uncaptured = True  # lost by copying
        return Update(
            policy,
            self.replay,
            self.loss,
            self.engine,
            normalizes=None,
            batch_size=self.batch_size,
            double_q=self.double_q,
            gamma=self.gamma,
            max_grad_norm=self.max_grad_norm,
            guard=self.guard,
            fixed=batch,
        )


def _vector(network: th.nn.Module) -> th.Tensor:
    return th.cat([parameter.detach().flatten() for parameter in network.parameters()])


class Actor:
    """Greedy actions of a network for observations of a fixed number of environments.

    Noisy layers take new noise for each step.
    """

    def __init__(self, network: QNetwork, n_envs: int) -> None:
        self.network = network
        self._inputs = Inputs(network, n_envs, copies=1)
        device = network.device
        shape = (n_envs, *network.observation_space.shape)  # type: ignore[misc]  # a Box has one
        self._obs = th.empty(shape, dtype=th.uint8, device=device)
        self._actions = th.empty(n_envs, dtype=th.int64, device=device)
        self._noise = noisy_layers(network)
        captured = device.type == "cuda"
        name = "choice of actions"
        self._graph = Captured(self._on_device, name, device) if captured else None

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
        features = self.network.features_extractor(self._inputs.scale(self._obs))
        th.argmax(self.network.q_net(features), dim=1, out=self._actions)
