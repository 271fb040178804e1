"""Gradient steps and greedy actions of a DQN.

The arithmetic is SB3's. It is faster because scaled observations are written into buffers that are
reused, weights are in channels_last, the optimizer is fused, and nothing waits for the loss. On a
GPU each step is one CUDA graph.
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

from custom.learner.cuda_graph import WARM_UPS, Captured
from custom.learner.engine import Engine
from custom.learner.layout import Inputs
from custom.learner.loss import Loss, NextValues
from custom.learner.nan_guard import NanGuard
from custom.noisy import draw_noise, noise_in, noisy_layers
from custom.policies import AtariQNetwork
from custom.replay.buffer import Batch, FrameReplayBuffer
from custom.replay.ring import write
from custom.system.console import say

LARGEST_DIFFERENCE = 0.01  # of captured and eager steps, relative to how far the weights moved
CLIP_EPSILON = 1e-6  # PyTorch adds it to the norm before it divides


def can_be_captured(policy: DQNPolicy, replay: object) -> bool:
    """Whether the replay is on the network's GPU and the optimizer never reads a value back."""
    return (
        isinstance(replay, FrameReplayBuffer)
        and replay.device.type == "cuda"
        and replay.storage == replay.device
        and takes_scaled(policy.q_net)
        and all("capturable" in group for group in policy.optimizer.param_groups)
    )


def takes_scaled(network: QNetwork) -> bool:
    """Whether the forward pass is SB3's, so that its parts take observations that are scaled."""
    return type(network).forward is QNetwork.forward


class Update:
    """Gradient steps of a policy's networks, with its optimizer.

    :param vec_normalize: normalizes what an SB3 replay samples
    :param batch_size: transitions per step
    :param gamma: discount per step, for a batch without discounts
    :param max_grad_norm: the gradient is scaled down to this norm
    :param guard: checks each step before the weights change; not on a GPU, which it would stall
    """

    def __init__(
        self,
        policy: DQNPolicy,
        replay: ReplayBuffer,
        loss: Loss,
        engine: Engine,
        *,
        vec_normalize: VecNormalize | None,
        batch_size: int,
        double_q: bool,
        gamma: float,
        max_grad_norm: float,
        guard: NanGuard,
    ) -> None:
        self.policy, self.replay, self.loss, self.engine = policy, replay, loss, engine
        self.vec_normalize, self.batch_size, self.double_q = vec_normalize, batch_size, double_q
        self.gamma, self.max_grad_norm, self.guard = gamma, max_grad_norm, guard
        self.q_net, self.q_net_target = policy.q_net, policy.q_net_target
        self._bf16 = engine.precision == "bf16"
        dtype = th.bfloat16 if self._bf16 else th.float32
        fast = engine.update == "fast" and takes_scaled(policy.q_net)
        self._inputs = Inputs(policy.q_net, batch_size, buffers=2, dtype=dtype) if fast else None
        self._parameters = list(policy.q_net.parameters())
        self._noise, self._target_noise = noisy_layers(self.q_net), noisy_layers(self.q_net_target)
        device = policy.q_net.device
        self._sums = th.zeros(2, device=device)  # of losses and of gradient norms
        self._steps = 0  # in these sums
        self._graph: Captured | None = None

    def step(self, batch: Batch) -> None:
        """One gradient step of DQN (Mnih et al. 2015, algorithm 1), from a batch to priorities."""
        obs, next_obs = self._scaled(batch)
        with th.no_grad():
            draw_noise(self._target_noise)
            q_t = self._values(self.q_net_target, next_obs)
            soft = self.loss.munchausen is not None
            q_target_tm1 = self._values(self.q_net_target, obs) if soft else None
            draw_noise(self._noise)
            q_chooser_t = self._values(self.q_net, next_obs) if self.double_q else q_t
            discount = self.gamma if batch.discounts is None else batch.discounts
            q = NextValues(q_t, q_chooser_t, q_target_tm1)
            target = self.loss.target(batch, discount, q)
        draw_noise(self._noise)  # independent noise for each use (Fortunato et al. 2018, eq. 16)
        q_tm1 = self._values(self.q_net, obs)
        losses, errors = self.loss(q_tm1, batch.actions, target)
        loss = (losses if batch.weights is None else batch.weights * losses).mean()

        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if not norm.is_cuda:
            self.guard.check_update(self.q_net, q_t, q_tm1, loss, norm)
        # On a CPU the norm can be read at no cost, and multiplying by 1 is left out.
        if norm.is_cuda or not norm + CLIP_EPSILON <= self.max_grad_norm:
            clip_grads_with_norm_(self._parameters, self.max_grad_norm, norm)
        self.policy.optimizer.step()

        if isinstance(self.replay, FrameReplayBuffer) and batch.places is not None:
            self.replay.update_priorities(batch.places, errors)
        self._sums += th.stack([loss.detach(), norm])

    def _batch(self, on_device: bool = False) -> Batch:
        if isinstance(self.replay, FrameReplayBuffer):
            return self.replay.batch(self.batch_size, on_device)
        return Batch(*self.replay.sample(self.batch_size, env=self.vec_normalize))

    def _scaled(self, batch: Batch) -> tuple[th.Tensor, th.Tensor]:
        if self._inputs is None:
            return batch.observations, batch.next_observations
        next_obs = self._inputs.scale(batch.next_observations, 1)
        return self._inputs.scale(batch.observations, 0), next_obs

    def _values(self, network: QNetwork, observations: th.Tensor) -> th.Tensor:
        """Outputs of the head, in float32: (B, A), or (B, N * A) of distributions."""
        device = network.device.type
        with th.autocast(device, th.bfloat16, enabled=self._bf16, cache_enabled=False):
            if not takes_scaled(network):
                outputs: th.Tensor = network(observations)
                return outputs.float()
            if self._inputs is None:
                features = network.extract_features(observations, network.features_extractor)
            else:
                features = network.features_extractor(observations)
            head = network.q_net[0] if isinstance(network, AtariQNetwork) else network.q_net
            outputs = head(features)
            return outputs.float()

    def __call__(self, gradient_steps: int) -> None:
        """Make gradient steps on batches from the replay."""
        with noise_in([*self._noise, *self._target_noise]):
            for _ in range(gradient_steps):
                if not self._by_graph():
                    self.step(self._batch())
        self._steps += gradient_steps

    def _by_graph(self) -> bool:
        """Make one step as a graph; False if there is none."""
        if self._graph is None:
            return False
        assert isinstance(self.replay, FrameReplayBuffer)
        self.replay.prepare()
        return self._graph(key=self.replay.ring.ends.data_ptr())  # `ends` may grow

    def capture(self, graph: type[Captured] = Captured) -> None:
        """Run steps as one graph, if captured and eager steps of copies change weights alike.

        :param graph: what captures them, for tests
        """
        difference = self.difference_of(graph)
        if difference is None:
            return
        if difference <= LARGEST_DIFFERENCE:
            device = self.q_net.device
            self._graph = graph(lambda: self.step(self._batch(on_device=True)), "update", device)
        else:
            say(
                f"captured updates differ from eager ones by {difference:.1%} of their size:"
                " updates run eagerly, which is slower"
            )

    def difference_of(self, graph: type[Captured]) -> float | None:
        """Distance between captured and eager steps, relative to how far they move the weights.

        Both begin with copies of weights and optimizer and with the same seed, and learn from one
        batch. The mean over all weights is compared, because Adam turns the rounding of tiny
        gradients into whole steps of single weights.

        :return: None if steps cannot be captured, which has been said then
        """
        assert isinstance(self.replay, FrameReplayBuffer)
        with th.random.fork_rng(range(th.cuda.device_count())):
            self.replay.prepare()
            batch = self.replay.batch(self.batch_size, on_device=True)._replace(places=None)
            eager, captured = self._copy(), self._copy()
            run = graph(lambda: captured.step(batch), "update", self.q_net.device)
            for update, step in ((eager, lambda: eager.step(batch)), (captured, run)):
                th.manual_seed(0)
                with noise_in([*update._noise, *update._target_noise]):
                    for _ in range(WARM_UPS + 2):
                        step()
        if run.failed:
            return None
        start, one, other = (_vector(update.q_net) for update in (self, eager, captured))
        apart, moved = float((one - other).abs().mean()), float((one - start).abs().mean())
        return apart / max(moved, 1e-30)  # with a learning rate of 0 neither moves

    def _copy(self) -> Update:
        policy = copy.deepcopy(self.policy)
        policy.optimizer._warned_capturable_if_run_uncaptured = True  # lost by copying
        return Update(
            policy,
            self.replay,
            self.loss,
            self.engine,
            vec_normalize=None,
            batch_size=self.batch_size,
            double_q=self.double_q,
            gamma=self.gamma,
            max_grad_norm=self.max_grad_norm,
            guard=self.guard,
        )

    def mean_loss_and_norm(self) -> tuple[float, float]:
        """Mean loss and gradient norm since the last call; waits for the device."""
        loss, norm = (self._sums / max(self._steps, 1)).tolist()
        self._sums.zero_()
        self._steps = 0
        return loss, norm


def _vector(network: th.nn.Module) -> th.Tensor:
    return th.cat([parameter.detach().flatten() for parameter in network.parameters()])


class Actor:
    """Greedy actions for one observation per environment, with new noise in each step.

    :param n_envs: number of environments, which is fixed
    """

    def __init__(self, network: QNetwork, n_envs: int) -> None:
        self.network = network
        self._inputs = Inputs(network, n_envs, buffers=1)
        device = network.device
        shape = (n_envs, *network.observation_space.shape)  # type: ignore[misc]  # a Box has one
        self._obs = th.empty(shape, dtype=th.uint8, device=device)
        self._actions = th.empty(n_envs, dtype=th.int64, device=device)
        self._noise = noisy_layers(network)
        captured = device.type == "cuda"
        self._graph = Captured(self._choose, "choice of actions", device) if captured else None

    def __call__(self, observations: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """The actions with the largest values, (n_envs,)."""
        if self.network.training:  # since an update; dropout and batch norm behave differently
            self.network.set_training_mode(False)
        write(self._obs, observations)
        with noise_in(self._noise):
            if self._graph is None or not self._graph():
                self._choose()
        actions: npt.NDArray[np.int64] = self._actions.cpu().numpy().copy()
        return actions

    @th.no_grad()
    def _choose(self) -> None:
        draw_noise(self._noise)
        features = self.network.features_extractor(self._inputs.scale(self._obs))
        th.argmax(self.network.q_net(features), dim=1, out=self._actions)
