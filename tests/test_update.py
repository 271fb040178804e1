"""One update with each option: what it reads, weighs and leaves behind, and how it is captured."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from stable_baselines3.dqn.policies import QNetwork

from custom.learner.cuda_graph import WARM_UPS, Captured
from custom.learner.dqn import AtariDQN
from custom.learner.update import Update
from custom.policies import NoisyLinear, noise_in, noisy_layers
from custom.replay.buffer import Batch
from custom.replay.prioritized import EPSILON
from tests.conftest import Patch
from tests.test_dqn import WithPolicy, learner


def ready(**options: Any) -> tuple[AtariDQN, Update]:
    options = {"learning_starts": 10**6, **options}
    policy_kwargs = options.pop("policy_kwargs", {})
    if policy_kwargs:
        options["algorithm"] = WithPolicy
    model = learner(policy_kwargs=policy_kwargs, **options)
    model.learn(90)
    return model, model.make_update(16)


def batch_of(model: AtariDQN) -> Batch:
    return Batch(*model.replay_buffer.gather(*first_places(16)))


def first_places(batch_size: int, on_device: bool = False) -> tuple[th.Tensor, th.Tensor]:
    return th.arange(batch_size), th.zeros(batch_size, dtype=th.int64)


def test_losses_are_weighed_and_gradients_clipped_above_the_norm() -> None:
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
    model, update = ready(max_grad_norm=1e9)
    batch = batch_of(model)

    def norm_of_a_step() -> float:
        update.step(batch)
        return th.cat([p.grad.flatten() for p in model.q_net.parameters()]).norm().item()

    whole = norm_of_a_step()
    update.max_grad_norm = whole / 2
    assert norm_of_a_step() == pytest.approx(whole / 2, rel=1e-3)


def test_priorities_become_the_errors_and_beta_rises(monkeypatch: Patch) -> None:
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
    model = learner(prioritized_replay={"beta": 0.4})
    model.learn(100)
    assert model.replay_buffer.beta.item() == pytest.approx(1.0, abs=0.02)
    model.learn(50, reset_num_timesteps=False)
    assert model.replay_buffer.beta.item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", ["forward", "extract_features"])
def test_a_forward_pass_of_ones_own_is_refused(name: str) -> None:
    model, _ = ready()
    model.q_net.__class__ = type("Own", (QNetwork,), {name: None})
    with pytest.raises(ValueError, match=f"own {name} is not called"):
        model.set_parameters(model.get_parameters())


def test_each_use_of_a_network_has_new_noise(monkeypatch: Patch) -> None:
    model, update = ready(policy_kwargs={"noisy": True}, double_q=True, learning_rate=1e-12)
    outputs, uses = update._outputs, list[th.Tensor]()

    def kept(*given: Any) -> th.Tensor:
        uses.append(outputs(*given))
        return uses[-1]

    monkeypatch.setattr(update, "_outputs", kept)
    monkeypatch.setattr(model.replay_buffer, "draw", first_places)
    update(2)
    for first, second in zip(uses[:3], uses[3:], strict=True):  # of two updates
        assert not th.allclose(first, second, atol=1e-4)
    assert not any(layer.training for layer in noisy_layers(model.policy))
    batch = batch_of(model)
    with noise_in(update._all_noise):
        update.step(batch._replace(next_observations=batch.observations))
    assert not any(th.allclose(uses[8], use, atol=1e-4) for use in uses[6:8])


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


class Recording(Captured):
    def __init__(self, works: bool = True) -> None:
        super().__init__(lambda: None, "function", th.device("cpu"))
        self.works = works
        self.done: list[str] = []

    def _eagerly(self) -> None:
        self.done.append("eager")

    def _capture(self) -> th.cuda.CUDAGraph | None:
        self.done.append("capture")
        replay = SimpleNamespace(replay=lambda: self.done.append("replay"))
        return replay if self.works else None  # type: ignore[return-value]


def test_eager_calls_come_before_a_capture_which_may_fail() -> None:
    function = Recording()
    assert all(function(key) for key in "aaa" + "aabb")
    again = ["capture", "replay", "replay"]
    assert function.done == ["eager"] * WARM_UPS + again + again
    function = Recording(works=False)
    assert [function() for _ in range(WARM_UPS + 2)] == [True] * WARM_UPS + [False, False]
    assert function.failed
    assert function.done == ["eager"] * WARM_UPS + ["capture"]
