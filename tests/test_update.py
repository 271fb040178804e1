"""One update with each option: what it reads, what it weighs, and what it leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from stable_baselines3.dqn.policies import QNetwork

from custom.learner.dqn import AtariDQN
from custom.learner.layout import Inputs
from custom.learner.update import Update
from custom.noisy import NoisyLinear, noise_in, noisy_layers
from custom.replay.buffer import Batch
from custom.replay.prioritized import EPSILON
from tests.test_dqn import WithPolicy, learner

NOISY = {"noisy": True}


def ready(**options: Any) -> tuple[AtariDQN, Update]:
    """A learner with some play in its replay, and its update."""
    options = {"learning_starts": 10**6, **options}
    policy_kwargs = options.pop("policy_kwargs", {})
    if policy_kwargs:
        options["algorithm"] = WithPolicy
    model = learner(policy_kwargs=policy_kwargs, **options)
    model.learn(90)
    return model, model.make_update(16)


class Recorder:
    """Stands for a loss and keeps what it was called with."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        self.targets: list[tuple[Any, ...]] = []
        self.predictions: list[th.Tensor] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loss, name)

    def target(self, *arguments: Any) -> th.Tensor:
        self.targets.append(arguments)
        return self.loss.target(*arguments)

    def __call__(self, q_tm1: th.Tensor, actions: th.Tensor, target: th.Tensor) -> Any:
        self.predictions.append(q_tm1)
        return self.loss(q_tm1, actions, target)


def batch_of(model: AtariDQN) -> Batch:
    return Batch(*model.replay_buffer.gather(*first_places(16)))


def first_places(batch_size: int) -> tuple[th.Tensor, th.Tensor]:
    return th.arange(batch_size), th.zeros(batch_size, dtype=th.int64)


@pytest.mark.parametrize("dtype", [th.float32, th.bfloat16])
def test_inputs_are_the_pixels_divided_by_255(dtype: th.dtype) -> None:
    model, _ = ready()
    batch = model.replay_buffer.gather(*first_places(16))
    inputs = Inputs(model.q_net, 16, buffers=2, dtype=dtype)
    now, following = inputs.scale(batch.observations, 0), inputs.scale(batch.next_observations, 1)
    assert th.equal(now, (batch.observations / 255).to(dtype))
    assert th.equal(following, (batch.next_observations / 255).to(dtype))
    assert now.is_contiguous(memory_format=th.channels_last)


def test_losses_are_weighed() -> None:
    model, update = ready(prioritized_replay={})
    batch = batch_of(model)
    before = [p.clone() for p in model.q_net.parameters()]
    update.step(batch._replace(weights=th.zeros(16, 1)))
    assert all(th.equal(p, q) for p, q in zip(before, model.q_net.parameters(), strict=True))
    assert update._sums[0] == 0
    weights = th.zeros(16, 1)
    weights[3] = 2.0
    with th.no_grad():
        q, q_t = model.q_net(batch.observations), model.q_net_target(batch.next_observations)
        target = batch.rewards + (1 - batch.dones) * 0.99 * q_t.max(dim=1, keepdim=True).values
        error = (target - q.gather(1, batch.actions))[3].item()
    update.step(batch._replace(weights=weights))
    assert model.q_net.q_net[0].bias.grad.abs().sum() > 0
    assert update._sums[0].item() == pytest.approx(2 * 0.5 * error**2 / 16, rel=1e-3)


def test_a_gradient_is_clipped_where_it_is_above_the_norm() -> None:
    model, update = ready(max_grad_norm=1e9)
    batch = batch_of(model)

    def norm_of_a_step() -> float:
        update.step(batch)
        return th.cat([p.grad.flatten() for p in model.q_net.parameters()]).norm().item()

    whole = norm_of_a_step()
    update.max_grad_norm = whole / 2
    assert norm_of_a_step() == pytest.approx(whole / 2, rel=1e-3)


def test_priorities_become_the_errors_that_were_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model, update = ready(prioritized_replay={"alpha": 0.7})
    buffer = model.replay_buffer
    buffer.prepare()
    monkeypatch.setattr(buffer, "draw", first_places)
    batch = buffer.gather(*first_places(16))
    with th.no_grad():
        q_t = model.q_net_target(batch.next_observations).max(dim=1, keepdim=True).values
        target = batch.rewards + (1 - batch.dones) * 0.99 * q_t
        errors = target - model.q_net(batch.observations).gather(1, batch.actions)
    update(1)
    expected = (errors.abs().double() + EPSILON).pow(0.7).flatten()
    assert th.allclose(buffer.tree.get(th.arange(16)), expected, rtol=1e-3)
    untouched = buffer.tree.get(th.arange(16, 90))
    assert th.equal(untouched, th.ones_like(untouched))


def test_beta_rises_with_the_run() -> None:
    model = learner(prioritized_replay={"beta": 0.4})
    model.learn(100)
    assert model.replay_buffer.beta.item() == pytest.approx(1.0, abs=0.02)
    model.learn(50, reset_num_timesteps=False)
    assert model.replay_buffer.beta.item() == pytest.approx(1.0, abs=0.02)


def test_double_q_asks_the_online_network_about_the_next_state() -> None:
    model, update = ready(double_q=True)
    recorder = update.loss = Recorder(update.loss)
    for parameter in model.q_net_target.parameters():
        parameter.data.mul_(-1)
    batch = batch_of(model)
    online = model.q_net(batch.next_observations).detach()
    target = model.q_net_target(batch.next_observations).detach()
    update.step(batch)
    [(_, _, q)] = recorder.targets
    assert th.allclose(q.chooser_t, online, atol=1e-5)
    assert th.allclose(q.target_t, target, atol=1e-5)
    assert not th.allclose(q.target_t, q.chooser_t, atol=1e-3)


def test_munchausen_asks_the_target_network_about_the_state() -> None:
    model, update = ready(munchausen_alpha=0.9)
    recorder = update.loss = Recorder(update.loss)
    for parameter in model.q_net_target.parameters():
        parameter.data.mul_(-1)
    batch = batch_of(model)
    target = model.q_net_target(batch.observations).detach()
    update.step(batch)
    assert th.allclose(recorder.targets[0][2].target_tm1, target, atol=1e-5)


def test_a_forward_pass_of_ones_own_is_learnt_through() -> None:
    class Halved(QNetwork):
        def forward(self, obs: th.Tensor) -> th.Tensor:
            return super().forward(obs) / 2

    model, _ = ready()
    model.q_net.__class__ = model.q_net_target.__class__ = Halved
    update, batch = model.make_update(16), batch_of(model)
    recorder = update.loss = Recorder(update.loss)
    expected = model.q_net(batch.observations).detach()
    update.step(batch)
    assert th.allclose(recorder.predictions[0], expected)


def test_returns_of_several_steps_bring_their_discounts() -> None:
    model, update = ready(n_steps=3)
    recorder = update.loss = Recorder(update.loss)
    update.step(batch_of(model))
    discounts = recorder.targets[0][1]
    assert discounts.shape == (16, 1)
    assert th.allclose(discounts, th.full_like(discounts, 0.99**3))


def test_each_update_has_new_noise_in_both_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    model, update = ready(policy_kwargs=NOISY, double_q=True, learning_rate=1e-12)
    recorder = update.loss = Recorder(update.loss)
    monkeypatch.setattr(model.replay_buffer, "draw", first_places)
    update(2)
    calls = zip(recorder.targets, recorder.predictions, strict=True)
    first, second = ((*target[2][:2], prediction) for target, prediction in calls)
    for one, other in zip(first, second, strict=True):
        assert not th.allclose(one, other, atol=1e-4)
    assert not any(layer.training for layer in noisy_layers(model.policy))


def test_the_choice_and_the_prediction_have_noise_of_their_own() -> None:
    model, update = ready(policy_kwargs=NOISY, double_q=True)
    recorder = update.loss = Recorder(update.loss)
    batch = batch_of(model)
    with noise_in([*update._noise, *update._target_noise]):
        update.step(batch._replace(next_observations=batch.observations))
    [(_, _, q)] = recorder.targets
    assert not th.allclose(q.chooser_t, recorder.predictions[0], atol=1e-4)


def test_the_noise_on_a_weight_is_sigma_times_the_outer_product() -> None:
    layer = NoisyLinear(2, 3)
    layer.noise_in.copy_(th.tensor([1.0, -2.0]))
    layer.noise_out.copy_(th.tensor([0.5, 1.0, 3.0]))
    layer.weight_sigma.data.fill_(0.1)
    layer.bias_sigma.data.fill_(0.2)
    x = th.tensor([[1.0, 1.0]])
    with noise_in([layer]):
        noisy = layer(x)
    # each row gains 0.1 * noise_out * (1 - 2), each bias 0.2 * noise_out
    gained = (noisy - layer(x)).detach().flatten().numpy()
    assert gained == pytest.approx(np.array([0.05, 0.1, 0.3]), abs=1e-6)
