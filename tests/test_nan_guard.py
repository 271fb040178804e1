"""The NaN guard names where it began, in a real DQN on real Pong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback

from custom.learner.dqn import AtariDQN
from custom.learner.qrdqn import AtariQRDQN
from custom.replay.buffer import REWARD
from custom.runs.agents import save_agent
from custom.system.errors import NonFiniteError
from tests.test_dqn import learner

Spoil = Callable[[AtariDQN], None]


class SpoilOnce(BaseCallback):
    """Does something to the model after 60 steps, in mid-run."""

    def __init__(self, spoil: Spoil) -> None:
        super().__init__()
        self.spoil = spoil

    def _on_step(self) -> bool:
        if self.num_timesteps == 60:
            self.spoil(self.model)
        return True


def in_q_net(model: AtariDQN) -> None:
    model.q_net.features_extractor.cnn[2].weight.data[3, 1, 0, 0] = float("nan")


def in_target_net(model: AtariDQN) -> None:
    model.q_net_target.q_net[0].bias.data[0] = float("inf")


def in_a_reward(model: AtariDQN) -> None:
    model.replay_buffer.facts[..., REWARD] = np.nan


def infinite_reward(model: AtariDQN) -> None:
    model.replay_buffer.facts[..., REWARD] = np.inf


def in_a_gradient(model: AtariDQN) -> None:
    bias = model.q_net.features_extractor.cnn[0].bias
    bias.register_hook(lambda grad: grad * float("nan"))


def in_the_q_values(model: AtariDQN) -> None:
    head = model.q_net.q_net[0]
    head.register_forward_hook(lambda _m, _i, out: out * float("inf") if out.requires_grad else out)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (in_q_net, "the parameter q_net.features_extractor.cnn.2.weight"),
        (in_target_net, "the parameter q_net_target.q_net.0.bias"),
        (in_a_reward, "the target (a reward, the discount or the output of q_net_target)"),
        (infinite_reward, "the target (a reward, the discount or the output of q_net_target)"),
        (in_the_q_values, "the loss (the output of q_net)"),
    ],
)
def test_the_first_tensor_is_named(spoil: Spoil, named: str) -> None:
    with pytest.raises(NonFiniteError) as error:
        learner().learn(200, callback=SpoilOnce(spoil))
    assert named in str(error.value)


@pytest.mark.parametrize("max_grad_norm", [10, float("inf")])
def test_a_single_gradient_is_named_though_clipping_spreads_it(max_grad_norm: float) -> None:
    model = learner(max_grad_norm=max_grad_norm)
    with pytest.raises(NonFiniteError, match=r"the gradient of q_net\.features_extractor\.cnn\.0"):
        model.learn(200, callback=SpoilOnce(in_a_gradient))


def test_values_that_are_huge_but_finite_are_no_alarm() -> None:
    model = learner()
    model.q_net.q_net[0].bias.data[:] = 1e30  # whose square is infinite in float32
    model.learn(60)
    assert model.num_timesteps == 60


def test_gradients_whose_squares_are_infinite_are_no_alarm() -> None:
    model = learner()
    bias = model.q_net.features_extractor.cnn[0].bias
    bias.register_hook(lambda grad: grad + 1e30)
    model.learn(60)
    assert all(th.isfinite(p).all() for p in model.policy.parameters())


def test_an_infinite_loss_of_the_last_update_is_seen() -> None:
    model = learner()
    with pytest.raises(NonFiniteError, match="a reward"):
        model.learn(60, callback=SpoilOnce(infinite_reward))


def test_the_weights_are_still_those_before_the_bad_update() -> None:
    model = learner()
    with pytest.raises(NonFiniteError):
        model.learn(200, callback=SpoilOnce(in_a_reward))
    assert all(th.isfinite(p).all() for p in model.policy.parameters())


def test_qrdqn_stops_too() -> None:
    model = learner(algorithm=AtariQRDQN)
    with pytest.raises(NonFiniteError, match="stopped at step 6"):
        model.learn(200, callback=SpoilOnce(in_a_reward))


def test_an_agent_with_nan_is_never_saved(tmp_path: Path) -> None:
    model = learner()
    in_q_net(model)
    with pytest.raises(NonFiniteError, match=r"cnn\.2\.weight"):
        save_agent(model, tmp_path / "agent.zip")
    assert list(tmp_path.iterdir()) == []
