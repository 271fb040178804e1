"""Gradient steps and greedy actions of a DQN.

The arithmetic is SB3's. It is faster because scaled observations are written into buffers that are
reused, weights are in channels_last, the optimizer is fused, and the loss is read only for the log.
On a GPU each step is one CUDA graph.
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

LARGEST_DIFFERENCE = 0.01  # between captured and eager steps, as a share of the weights' change
CLIP_EPSILON = 1e-6  # clip_grads_with_norm_ divides by norm + CLIP_EPSILON


def can_be_captured(policy: DQNPolicy, replay: object) -> bool:
    """Whether an update can be a CUDA graph: frames on the GPU and a capturable optimizer."""
    return (
        isinstance(replay, FrameReplayBuffer)
        and replay.device.type == "cuda"
        and replay.storage == replay.device
        and takes_scaled(policy.q_net)
        and all("capturable" in group for group in policy.optimizer.param_groups)
    )


def takes_scaled(network: QNetwork) -> bool:
    """Whether the forward pass is SB3's: then the features extractor takes scaled observations."""
    return type(network).forward is QNetwork.forward


class Update:
    """Gradient steps of a policy's networks, with its optimizer.

    :param vec_normalize: passed to an SB3 replay buffer when it samples
    :param batch_size: transitions per gradient step
    :param double_q: the online network chooses the next action, else the target network
    :param gamma: discount per step, for batches without `discounts`
    :param max_grad_norm: a larger gradient is scaled down to this norm
    :param guard: checks each step before the weights change; not on a GPU, where that would wait
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
        self._steps = 0  # gradient steps in these sums
        self._graph: Captured | None = None

    def step(self, batch: Batch) -> None:
        """One gradient step of DQN (Mnih et al. 2015, algorithm 1) and new priorities."""
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
        # On a CPU the norm is read at no cost, to skip a clip that would change nothing.
        if norm.is_cuda or not norm + CLIP_EPSILON <= self.max_grad_norm:
            clip_grads_with_norm_(self._parameters, self.max_grad_norm, norm)
        self.policy.optimizer.step()

        if isinstance(self.replay, FrameReplayBuffer) and batch.places is not None:
            self.replay.update_priorities(batch.places, errors)
        self._sums += th.stack([loss.detach(), norm])

    def _batch(self, on_device: bool = False) -> Batch:
        """A batch from the replay buffer; `on_device` as in `FrameReplayBuffer.batch`."""
        if isinstance(self.replay, FrameReplayBuffer):
            return self.replay.batch(self.batch_size, on_device)
        return Batch(*self.replay.sample(self.batch_size, env=self.vec_normalize))

    def _scaled(self, batch: Batch) -> tuple[th.Tensor, th.Tensor]:
        """Observations and next observations, scaled if `_values` expects that."""
        if self._inputs is None:
            return batch.observations, batch.next_observations
        next_obs = self._inputs.scale(batch.next_observations, 1)
        return self._inputs.scale(batch.observations, 0), next_obs

    def _values(self, network: QNetwork, observations: th.Tensor) -> th.Tensor:
        """A network's outputs in float32: (B, A), or (B, N * A) before `Distribution`."""
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
        """Make gradient steps on batches from the replay buffer."""
        with noise_in([*self._noise, *self._target_noise]):
            for _ in range(gradient_steps):
                if not self._step_by_graph():
                    self.step(self._batch())
        self._steps += gradient_steps

    def _step_by_graph(self) -> bool:
        """Make one gradient step as a CUDA graph; False if there is no graph."""
        if self._graph is None:
            return False
        assert isinstance(self.replay, FrameReplayBuffer)
        self.replay.prepare()
        return self._graph(key=self.replay.ring.ends.data_ptr())  # `ends` may grow

    def capture(self, graph: type[Captured] = Captured) -> None:
        """Make each step a CUDA graph from now on, if that changes weights as eager steps do.

        :param graph: replaced in tests
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
        """Mean difference of weights after captured and eager steps, over their mean change.

        Both start from copies of the weights and the optimizer with the same seed, and learn from
        the same batch. Means are compared, because Adam turns the rounding of a tiny gradient into
        a whole step of one weight.

        :return: None if steps cannot be captured, which has been printed
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
        start, by_eager, by_graph = (_vector(u.q_net) for u in (self, eager, captured))
        difference = float((by_eager - by_graph).abs().mean())
        change = float((by_eager - start).abs().mean())
        return difference / max(change, 1e-30)  # both are 0 with a learning rate of 0

    def _copy(self) -> Update:
        """The same update for a copy of the networks and the optimizer."""
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
        """Mean loss and mean gradient norm since the last call; waits for the device."""
        loss, norm = (self._sums / max(self._steps, 1)).tolist()
        self._sums.zero_()
        self._steps = 0
        return loss, norm


def _vector(network: th.nn.Module) -> th.Tensor:
    """All parameters of a network, (P,)."""
    return th.cat([parameter.detach().flatten() for parameter in network.parameters()])


class Actor:
    """Greedy actions for one observation per environment; noisy layers draw noise at each call.

    :param network: the online network
    :param n_envs: number of observations in each call
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
        self._graph = Captured(self._compute, "choice of actions", device) if captured else None

    def __call__(self, observations: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """The actions with the largest values, (n_envs,).

        :param observations: (n_envs, channels, height, width), not scaled
        """
        if self.network.training:  # since an update; dropout and batch norm behave differently
            self.network.set_training_mode(False)
        write(self._obs, observations)
        with noise_in(self._noise):
            if self._graph is None or not self._graph():
                self._compute()
        actions: npt.NDArray[np.int64] = self._actions.cpu().numpy().copy()
        return actions

    @th.no_grad()
    def _compute(self) -> None:
        """Compute `_actions` from `_obs`, both on the device."""
        draw_noise(self._noise)
        features = self.network.features_extractor(self._inputs.scale(self._obs))
        th.argmax(self.network.q_net(features), dim=1, out=self._actions)
