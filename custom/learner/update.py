"""Gradient steps and greedy actions of a DQN.

The arithmetic is SB3's. It is faster because scaled observations are written into buffers that are
reused, weights are in channels_last, the optimizer is fused, and the loss is read only for the log.
On a GPU each step is one CUDA graph.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from custom.learner.cuda_graph import Captured
from custom.learner.engine import Engine
from custom.learner.layout import Inputs
from custom.learner.nan_guard import check_finite
from custom.learner.targets import Loss
from custom.policies import draw_noise, noise_in, noisy_layers
from custom.replay.buffer import Batch, FrameReplayBuffer
from custom.replay.ring import write

CLIP_EPSILON = 1e-6  # clip_grads_with_norm_ divides by norm + CLIP_EPSILON


def can_be_captured(policy: DQNPolicy, replay: object) -> bool:
    """Whether an update can be a CUDA graph: frames on the GPU and a capturable optimizer."""
    return (
        isinstance(replay, FrameReplayBuffer)
        and replay.device.type == "cuda"
        and replay.storage == replay.device
        and all("capturable" in group for group in policy.optimizer.param_groups)
    )


class Update:
    """Gradient steps of a policy's networks, with its optimizer.

    Each is checked before the weights change; not on a GPU, where that would wait.

    :param batch_size: transitions per gradient step
    :param max_grad_norm: a larger gradient is scaled down to this norm
    :param steps: returns the number of steps so far, for messages
    """

    def __init__(
        self,
        policy: DQNPolicy,
        replay: ReplayBuffer,
        loss: Loss,
        engine: Engine,
        batch_size: int,
        max_grad_norm: float,
        steps: Callable[[], int],
    ) -> None:
        self.policy, self.replay, self.loss = policy, replay, loss
        self.batch_size, self.max_grad_norm, self._steps_so_far = batch_size, max_grad_norm, steps
        self._bf16 = engine.precision == "bf16"
        is_fast = engine.update == "fast"
        self._inputs = Inputs(policy.q_net, batch_size, buffers=2) if is_fast else None
        self._parameters = list(policy.q_net.parameters())
        self._noise = noisy_layers(policy.q_net)
        self._all_noise = [*noisy_layers(policy.q_net_target), *self._noise]
        device = policy.q_net.device
        self._sums = th.zeros(2, device=device)  # of losses and of gradient norms
        self._steps = 0  # gradient steps in these sums
        self._graph: Captured | None = None

    def step(self, batch: Batch) -> None:
        """One gradient step of DQN (Mnih et al. 2015, algorithm 1) and new priorities."""
        batch = self._scaled(batch)
        online = partial(self._outputs, self.policy.q_net)
        with th.no_grad():
            draw_noise(self._all_noise)
            target_net = partial(self._outputs, self.policy.q_net_target)
            target = self.loss.target(batch, online, target_net)
        draw_noise(self._noise)  # independent noise for each use (Fortunato et al. 2018, eq. 16)
        losses, errors = self.loss(online(batch.observations), batch.actions, target)
        loss = (losses if batch.weights is None else batch.weights * losses).mean()

        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if not norm.is_cuda:
            check_finite(self.policy, self._steps_so_far(), loss.item(), norm.item())
        # On a CPU the norm is read at no cost, to skip a clip that would change nothing.
        if norm.is_cuda or not norm + CLIP_EPSILON <= self.max_grad_norm:
            clip_grads_with_norm_(self._parameters, self.max_grad_norm, norm)
        self.policy.optimizer.step()

        if isinstance(self.replay, FrameReplayBuffer) and batch.places is not None:
            self.replay.update_priorities(batch.places, errors)
        self._sums += th.stack([loss.detach(), norm])

    def _scaled(self, batch: Batch) -> Batch:
        """A batch whose observations are scaled, if `_outputs` expects that."""
        if self._inputs is None:
            return batch
        next_obs = self._inputs.scale(batch.next_observations, 1)
        obs = self._inputs.scale(batch.observations, 0)
        return batch._replace(observations=obs, next_observations=next_obs)

    def _outputs(self, network: QNetwork, observations: th.Tensor) -> th.Tensor:
        """A network's outputs in float32: (B, A), or (B, N * A) before `Distribution`."""
        device = network.device.type
        with th.autocast(device, th.bfloat16, enabled=self._bf16, cache_enabled=False):
            if self._inputs is None:
                features = network.extract_features(observations, network.features_extractor)
            else:
                features = network.features_extractor(observations)
            head = network.q_net if self.loss.distribution is None else network.q_net[0]
            outputs: th.Tensor = head(features)
            return outputs.float()

    def __call__(self, gradient_steps: int) -> None:
        """Make gradient steps on batches from the replay buffer."""
        with noise_in(self._all_noise):
            for _ in range(gradient_steps):
                if not self._step_by_graph():
                    self.step(Batch(*self.replay.sample(self.batch_size)))
        self._steps += gradient_steps

    def capture(self) -> None:
        """Make each step a CUDA graph from now on; call it where `can_be_captured`."""
        replay = self.replay
        assert isinstance(replay, FrameReplayBuffer)
        sample = partial(replay.sample, self.batch_size, on_device=True)
        self._graph = Captured(lambda: self.step(sample()), "update", replay.device)

    def _step_by_graph(self) -> bool:
        """Make one gradient step as a CUDA graph; False if there is no graph."""
        if self._graph is None:
            return False
        assert isinstance(self.replay, FrameReplayBuffer)
        self.replay.prepare()
        return self._graph(key=self.replay.ring.ends.data_ptr())  # `ends` may grow

    def mean_loss_and_norm(self) -> tuple[float, float]:
        """Mean loss and mean gradient norm since the last call; waits for the device."""
        loss, norm = (self._sums / max(self._steps, 1)).tolist()
        self._sums.zero_()
        self._steps = 0
        return loss, norm


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
