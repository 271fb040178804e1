"""Networks and heads: their shapes, their formulas, and what a file keeps of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.dqn.policies import CnnPolicy

from custom.learner.dqn import AtariDQN
from custom.networks import ConvNet, ImpalaCNN, Residual
from custom.policies import AtariPolicy, DuelingHead, NoisyLinear, noisy_layers
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from tests.test_dqn import WithPolicy, learner

STACK = spaces.Box(0, 255, (4, 84, 84), np.uint8)
SIX = spaces.Discrete(6)
WANG = {"features_extractor_class": ConvNet, "net_arch": [512]}
WANG |= {"features_extractor_kwargs": {"hidden": []}}


def policy(cls: Any = AtariPolicy, space: spaces.Box = STACK, **options: Any) -> Any:
    th.manual_seed(0)
    return cls(space, SIX, lambda _: 1e-4, **options)


def parameters(module: th.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def screens(n: int = 2, space: spaces.Box = STACK) -> th.Tensor:
    return th.randint(0, 256, (n, *space.shape), dtype=th.uint8)


def test_without_options_the_policy_is_sb3s_and_frames_apart_share_convolutions() -> None:
    ours, theirs = policy(), policy(CnnPolicy)
    assert parameters(ours.q_net) == parameters(theirs.q_net)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine.data.copy_(other.data)
    obs = screens()
    assert th.equal(ours.q_net(obs), theirs.q_net(obs))
    space = spaces.Box(0, 255, (9, 84, 84), np.uint8)
    network = ConvNet(space, frames=3, hidden=[])
    obs = th.rand(2, 9, 84, 84)
    apart = [network.cnn(obs[:, 3 * i : 3 * i + 3]) for i in range(3)]
    assert th.allclose(network(obs), th.cat(apart, dim=1), atol=1e-6)


def test_networks_are_as_large_as_their_sources() -> None:
    assert parameters(ConvNet(STACK)) == parameters(NatureCNN(STACK))
    recipe = load_recipe("dueling_dqn-fullframe", find_game("SpaceInvaders")).hyperparams
    arguments = {**recipe.policy_kwargs.given, "dueling": False}
    arguments["features_extractor_class"] = ConvNet
    space = spaces.Box(0, 255, (9, 210, 160), np.uint8)
    assert parameters(policy(space=space, **arguments).q_net) == 34_812_326
    network = policy(**WANG, dueling=True).q_net
    streams = 2 * (3136 * 512 + 512) + (512 + 1) + (512 * 6 + 6)
    assert parameters(network) == parameters(ConvNet(STACK, hidden=[])) + streams
    convolutions = [m for m in ImpalaCNN(STACK).modules() if isinstance(m, th.nn.Conv2d)]
    assert len(convolutions) == 15
    assert [c.out_channels for c in convolutions[::5]] == [16, 32, 32]
    wide = [m for m in ImpalaCNN(STACK, width=4).modules() if isinstance(m, th.nn.Conv2d)]
    assert [c.out_channels for c in wide[::5]] == [64, 128, 128]
    assert ImpalaCNN(STACK)(screens().float() / 255).shape == (2, 512)
    block, x = Residual(4), th.rand(1, 4, 5, 5)
    for parameter in block.parameters():
        th.nn.init.zeros_(parameter)
    assert th.equal(block(x), x)  # the way around the convolutions


@pytest.mark.parametrize("distribution", [{"n_quantiles": 20}, {"n_atoms": 51, "v_max": 10.0}])
@pytest.mark.parametrize("dueling", [False, True])
def test_distributions_have_action_values(distribution: dict[str, Any], dueling: bool) -> None:
    network = policy(**distribution, dueling=dueling).q_net
    q = network(screens())
    assert q.shape == (2, 6)
    outputs = network.q_net[0](network.extract_features(screens(), network.features_extractor))
    assert network.q_net[1].distributions(outputs).shape[2] == 6
    assert q.abs().max() < 5


def test_atoms_have_their_expectation_and_dueling_takes_the_mean_advantage_off() -> None:
    last = policy(n_atoms=3, v_max=2.0).q_net.q_net[1]
    logits = th.log(th.tensor([[[0.5], [0.25], [0.25]]])).expand(1, 3, 6)
    assert last(logits.flatten(1)).tolist() == [[pytest.approx(-0.5)] * 6]
    with pytest.raises(ValueError, match="not both"):
        policy(n_quantiles=10, n_atoms=51)
    head = DuelingHead(8, 3, 2, [16], th.nn.ReLU)
    features = th.randn(5, 8)
    q = head(features).reshape(5, 2, 3)
    value, advantage = head.value(features), head.advantage(features).reshape(5, 2, 3)
    assert th.allclose(q, value[:, :, None] + advantage - advantage.mean(2, keepdim=True))
    assert th.allclose(q.mean(dim=2), value, atol=1e-6)


def test_the_noise_has_the_papers_size_in_every_linear_layer() -> None:
    layer = NoisyLinear(100, 50, sigma=0.5)
    assert layer.weight_sigma[0, 0].item() == pytest.approx(0.05)  # 0.5 / sqrt(100)
    draws = []
    for _ in range(400):
        layer.draw()
        draws.append(layer.noise_in.clone())
    values = th.stack(draws)
    assert values.mean().abs() < 0.02
    # f(x) = sgn(x) sqrt(|x|): its square has the mean of |x|, sqrt(2 / pi)
    assert values.square().mean().item() == pytest.approx((2 / np.pi) ** 0.5, rel=0.02)
    network = policy(noisy=True, dueling=True, **WANG).q_net
    linear = [m for m in network.modules() if isinstance(m, th.nn.Linear)]
    assert len(linear) == 4
    assert noisy_layers(network) == linear


def noisy_agent() -> AtariDQN:
    greedy = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}
    options = {"noisy": True, "dueling": True, "n_quantiles": 5}
    return learner(WithPolicy, policy_kwargs=options, train_freq=4, **greedy)


def test_noise_explores_in_training_is_learnt_and_survives_a_file(tmp_path: Path) -> None:
    model = noisy_agent()
    model.policy.q_net.q_net[0].advantage[0].weight_sigma.data.fill_(1.0)
    obs = model.env.reset()
    assert len({int(model.predict(obs)[0][0]) for _ in range(40)}) > 1
    assert len({int(model.predict(obs, deterministic=True)[0][0]) for _ in range(20)}) == 1
    assert not any(layer.training for layer in noisy_layers(model.policy))
    model = noisy_agent()
    before = model.policy.q_net.q_net[0].value[0].weight_sigma.clone()
    model.learn(200)
    assert not th.equal(model.policy.q_net.q_net[0].value[0].weight_sigma, before)
    model.save(tmp_path / "agent.zip")
    for algorithm in (AtariDQN, DQN):
        loaded = algorithm.load(tmp_path / "agent.zip", device="cpu", buffer_size=1)
        for name, weight in model.policy.state_dict().items():
            assert th.equal(weight, loaded.policy.state_dict()[name])
        obs = np.random.default_rng(0).integers(0, 256, (30, 4, 36, 36), np.uint8)
        first, second = (m.predict(obs, deterministic=True)[0] for m in (model, loaded))
        assert np.array_equal(first, second)
