"""The NaN guard names where it began, in a real DQN on real Pong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from custom.learner.dqn import AtariDQN, AtariQRDQN
from custom.replay.buffer import REWARD
from custom.runs.agents import save_agent
from custom.system.errors import NonFiniteError
from tests.test_dqn import learner, weights

Spoil = Callable[[AtariDQN], Any]
LOSS = "the loss (a reward, or the output of a network)"


def once(spoil: Spoil) -> Callable[..., bool]:
    def callback(names: dict[str, Any], _: Any) -> bool:
        if names["self"].num_timesteps == 60:
            spoil(names["self"])
        return True

    return callback


def in_q_net(model: AtariDQN) -> None:
    model.q_net.features_extractor.cnn[2].weight.data[3, 1, 0, 0] = float("nan")


def in_target_net(model: AtariDQN) -> None:
    model.q_net_target.q_net[0].bias.data[0] = float("inf")


def in_a_reward(model: AtariDQN) -> None:
    model.replay_buffer.facts[..., REWARD] = np.nan


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
        (in_a_reward, LOSS),
        (in_the_q_values, LOSS),
        (in_a_gradient, "the gradient of q_net.features_extractor.cnn.0"),
    ],
)
@pytest.mark.parametrize("max_grad_norm", [10, float("inf")])  # clipping spreads a NaN
def test_the_first_tensor_is_named(spoil: Spoil, named: str, max_grad_norm: float) -> None:
    model = learner(max_grad_norm=max_grad_norm)
    with pytest.raises(NonFiniteError) as error:
        model.learn(200, callback=once(spoil))
    assert named in str(error.value)
    spoilt = sum(not th.isfinite(weight).all() for weight in weights(model))
    assert spoilt == (1 if "parameter" in named else 0)


def test_values_and_gradients_whose_squares_are_infinite_are_no_alarm() -> None:
    model = learner()
    model.q_net.q_net[0].bias.data[:] = 1e30
    model.q_net.features_extractor.cnn[0].bias.register_hook(lambda grad: grad + 1e30)
    model.learn(60)
    assert all(th.isfinite(weight).all() for weight in weights(model))


def test_qrdqn_stops_too() -> None:
    with pytest.raises(NonFiniteError, match="stopped at step 6"):
        learner(AtariQRDQN).learn(200, callback=once(in_a_reward))


def test_an_agent_with_nan_is_never_saved(tmp_path: Path) -> None:
    model = learner()
    in_q_net(model)
    with pytest.raises(NonFiniteError, match=r"cnn\.2\.weight"):
        save_agent(model, tmp_path / "agent.zip")
    assert list(tmp_path.iterdir()) == []
