"""Targets and losses on numbers worked out by hand, and on a game of three known states."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib.common.utils import quantile_huber_loss

from custom.learner.dqn import AtariDQN, AtariQRDQN
from custom.learner.targets import (
    Loss,
    bellman,
    categorical_loss,
    munchausen_bonus,
    of_actions,
    project,
    quantile_loss,
    soft_value,
    td_loss,
)
from custom.networks import ConvNet
from custom.policies import AtariPolicy, Distribution
from custom.replay.buffer import Batch
from custom.runs.agents import action_values
from tests.conftest import longer

REWARDS, GOING, OVER = th.tensor([[0.5]]), th.zeros(1, 1), th.ones(1, 1)
ATOMS = Distribution(2, th.linspace(-10, 10, 51))


def target(
    dones: th.Tensor, online: list[float], valued: list[float], **options: Any
) -> list[list[float]]:
    """The target for networks that always output the same, for a discount of 0.5."""
    anything = th.zeros(1, 1)
    batch = Batch(anything, th.zeros(1, 1, dtype=th.int64), anything, dones, REWARDS)
    outputs = (lambda _, q=q: th.tensor([q]) for q in (online, valued))
    result: list[list[float]] = Loss(gamma=0.5, **options).target(batch, *outputs).tolist()
    return result


def test_the_target_is_the_discounted_best_value_or_that_which_the_online_net_picks() -> None:
    assert target(GOING, [5.0, 0.0], [1.0, 3.0]) == [[2.0]]  # 0.5 + 0.5 * 3
    assert target(OVER, [5.0, 0.0], [1.0, 3.0]) == [[0.5]]
    assert target(GOING, [1.0, 3.0], [9.0, 2.0], double_q=True) == [[1.5]]  # 0.5 + 0.5 * 2
    assert target(OVER, [1.0, 3.0], [9.0, 2.0], double_q=True) == [[0.5]]
    z_t, discounts = th.tensor([[2.0], [2.0]]), th.tensor([[0.5], [0.25]])
    rewards, dones = REWARDS.expand(2, 1), GOING.expand(2, 1)
    assert bellman(rewards, dones, z_t, discounts).tolist() == [[1.5], [1.0]]
    quantiles = th.tensor([[1.0, 3.0]])
    assert bellman(REWARDS, GOING, quantiles, 0.5).tolist() == [[1.0, 2.0]]
    assert bellman(REWARDS, OVER, quantiles, 0.5).tolist() == [[0.5, 0.5]]


def test_the_munchausen_bonus_is_the_clipped_log_policy_of_the_target_network() -> None:
    q = th.tensor([[0.0, math.log(3.0)]])  # policies 1/4 and 3/4 at temperature 1
    for action, policy in ((0, 0.25), (1, 0.75)):
        bonus = munchausen_bonus(q, th.tensor([[action]]), 0.9, 1.0, -9.0)
        assert bonus.item() == pytest.approx(0.9 * math.log(policy))
    q = th.tensor([[0.0, 5.0]])
    assert munchausen_bonus(q, th.tensor([[0]]), 0.9, 0.03, -1.0).item() == pytest.approx(-0.9)
    assert munchausen_bonus(q, th.tensor([[1]]), 0.9, 0.03, -1.0).item() == pytest.approx(0.0)
    asked: list[th.Tensor] = []
    obs = th.zeros(2, 1, 1)  # the observation and the next
    batch = Batch(obs[0], th.zeros(1, 1, dtype=th.int64), obs[1] + 1, GOING, REWARDS)

    def valued(seen: th.Tensor) -> th.Tensor:
        asked.append(seen)
        return th.tensor([[1.0, 3.0]])

    Loss(gamma=0.5, munchausen_alpha=0.9).target(batch, lambda _: pytest.fail("online"), valued)
    assert [seen.item() for seen in asked] == [1, 0]


def test_the_soft_value_is_of_value_and_entropy_and_the_mean_of_soft_quantiles() -> None:
    q_t, temperature = th.tensor([[0.2, -0.1, 0.4]]), 0.3
    policy = (q_t / temperature).softmax(dim=1)
    value = (policy * (q_t - temperature * policy.log())).sum()  # eq. 1 of the paper
    assert soft_value(q_t[:, None], q_t, temperature).item() == pytest.approx(value.item())
    assert soft_value(q_t[:, None], q_t, 1e-4).item() == pytest.approx(0.4)  # the best value
    quantiles = th.randn(3, 7, 4)
    q_t = quantiles.mean(dim=1)
    soft = soft_value(quantiles, q_t, 0.3).mean(dim=1)
    assert th.allclose(soft, 0.3 * th.logsumexp(q_t / 0.3, dim=1), atol=1e-6)


def test_losses_of_a_small_and_a_large_error_of_the_action_that_was_taken() -> None:
    taken, target = th.tensor([[0.0], [0.0]]), th.tensor([[0.5], [3.0]])
    assert td_loss(taken, target, "huber").flatten().tolist() == [0.125, 2.5]
    assert td_loss(taken, target, "mse").flatten().tolist() == [0.25, 9.0]
    outputs = th.tensor([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]])
    assert of_actions(outputs, th.tensor([[1]])).tolist() == [[10.0, 20.0, 30.0]]


def test_the_quantile_loss_is_that_by_hand_and_sb3_contribs() -> None:
    # midpoints 1/4 and 3/4; both quantiles at 0; targets 0.5 (below 1: squared) and -2
    loss = quantile_loss(th.zeros(1, 2), th.tensor([[0.5, -2.0]]))
    first = (0.25 * 0.125 + 0.75 * 1.5) / 2
    second = (0.75 * 0.125 + 0.25 * 1.5) / 2
    assert loss.item() == pytest.approx(first + second)
    quantiles, targets = th.randn(6, 5), th.randn(6, 5)
    theirs = quantile_huber_loss(quantiles, targets, sum_over_quantiles=True)
    assert quantile_loss(quantiles, targets).mean().item() == pytest.approx(theirs.item(), rel=1e-5)


def test_a_shifted_atom_is_shared_by_its_neighbours_and_the_mean_stays() -> None:
    atoms = th.tensor([-1.0, 0.0, 1.0])
    moved = project(th.tensor([[0.0, 0.5, 0.5]]), th.tensor([[-0.75, 0.25, 1.25]]), atoms)
    assert moved.tolist() == [[0.0, 0.375, 0.625]]  # 0.5 at 0.25: 3/4 to 0; beyond the last: to it
    atoms = th.linspace(-10, 10, 51)
    probabilities = th.rand(8, 51).softmax(dim=1)
    positions = 0.3 + 0.9 * atoms.expand(8, 51)
    moved = project(probabilities, positions, atoms)
    assert th.allclose(moved.sum(dim=1), th.ones(8), atol=1e-5)
    assert th.allclose((moved * atoms).sum(1), (probabilities * positions).sum(1), atol=1e-4)


def test_the_categorical_loss_is_the_divergence_from_the_target_and_finite() -> None:
    logits, target = th.log(th.tensor([[0.2, 0.8]])), th.tensor([[0.5, 0.5]])
    expected = 0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8)
    assert categorical_loss(logits, target).item() == pytest.approx(expected)
    assert categorical_loss(th.log(target), target).item() == pytest.approx(0)
    logits = th.zeros(1, 3, requires_grad=True)
    loss = categorical_loss(logits, th.tensor([[0.0, 1.0, 0.0]]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(3))
    assert logits.grad.flatten().tolist() == pytest.approx([1 / 3, -2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"double_q": True, "munchausen_alpha": 0.9}, "delete double_q"),
        ({"munchausen_alpha": 0.9, "distribution": ATOMS}, "is not for n_atoms"),
        ({"kind": "mse", "distribution": Distribution(2)}, "not for distributions"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loss(**options)


GAMMA, END = 0.9, 3
# next state and reward: [state][action]
CHOICE = [[(1, 0.0), (END, 0.3)], [(2, 0.0), (0, 0.1)], [(END, 1.0), (1, 0.0)]]
CHAIN = [[(1, 0.0), (1, 0.0)], [(2, 0.0), (2, 0.0)], [(END, 1.0), (END, 1.0)]]
Rules = list[list[tuple[int, float]]]


class Picture(gym.Env[np.ndarray, int]):
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
        self.action_space = spaces.Discrete(2)
        self.state = 0

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.state = int(self.np_random.integers(END))
        return picture(self.state), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.state, reward = self.rules[self.state][int(action)]
        return picture(self.state), reward, self.state == END, False, {}


def picture(state: int) -> np.ndarray:
    screen = np.zeros((36, 36, 1), np.uint8)
    screen[9 * state : 9 * state + 9] = 255
    return screen


def optimal(rules: Rules) -> np.ndarray:
    """Action values, (states, actions), by value iteration."""
    q = np.zeros((END + 1, 2))
    for _ in range(200):
        for state, actions in enumerate(rules):
            for action, (following, reward) in enumerate(actions):
                q[state, action] = reward + GAMMA * q[following].max()
    return q[:END]


def munchausen(rules: Rules, n_steps: int) -> np.ndarray:
    """The fixed point of Munchausen value iteration: alpha 0.9, tau 0.03, l_0 -1."""
    q = np.zeros((END + 1, 2))
    for _ in range(3000):
        new = np.zeros_like(q)
        for state, actions in enumerate(rules):
            log_policy = 0.03 * (q[state] / 0.03 - np.logaddexp.reduce(q[state] / 0.03))
            for action in range(len(actions)):
                value = 0.9 * np.clip(log_policy[action], -1, 0)
                at, then, discount = state, action, 1.0
                for _ in range(n_steps):
                    at, reward = rules[at][then]
                    value, discount, then = value + discount * reward, discount * GAMMA, 0
                    if at == END:
                        break
                else:
                    value += discount * 0.03 * np.logaddexp.reduce(q[at] / 0.03)
                new[state, action] = value
        q = new
    return q[:END]


SMALL = {"filters": [[8, 9, 9]], "hidden": [64]}
NET = {"features_extractor_class": ConvNet, "features_extractor_kwargs": SMALL}
OURS = {"policy": AtariPolicy}
PRIORITIZED = {"prioritized_replay": {"alpha": 0.5, "beta": 0.4}}
MUNCHAUSEN = {"munchausen_alpha": 0.9}
QUANTILES = {**OURS, "policy_kwargs": {"n_quantiles": 8}}
VARIANTS: dict[str, dict[str, Any]] = {
    "dqn": {},
    "mse": {"loss": "mse"},
    "double": {"double_q": True},
    "prioritized": PRIORITIZED,
    "munchausen": MUNCHAUSEN,
    "dueling": {**OURS, "policy_kwargs": {"dueling": True}},
    "noisy": {**OURS, "policy_kwargs": {"noisy": True}},
    "quantiles": QUANTILES,
    "quantiles, double": {**QUANTILES, "double_q": True},
    "quantiles, munchausen": {**QUANTILES, **MUNCHAUSEN},
    "C51": {**OURS, "policy_kwargs": {"n_atoms": 21, "v_max": 2.0}},
}
RAINBOW = {"n_atoms": 21, "v_max": 2.0, "dueling": True, "noisy": True}
# Where other actions change nothing: returns of several steps are off-policy.
WITH_N_STEPS: dict[str, dict[str, Any]] = {
    "3 steps": {},
    "rainbow": {**OURS, **PRIORITIZED, "double_q": True, "policy_kwargs": RAINBOW},
    "best": {**QUANTILES, **PRIORITIZED, **MUNCHAUSEN},
}


def learnt(
    rules: Rules, algorithm: type[AtariDQN] | type[AtariQRDQN] = AtariDQN, **options: Any
) -> np.ndarray:
    policy = options.pop("policy", "CnnPolicy")
    usual = {"gamma": GAMMA, "learning_rate": lambda left: 2e-3 * left, "buffer_size": 2000}
    usual |= {"learning_starts": 200, "target_update_interval": 25, "train_freq": 1, "seed": 1}
    usual |= {"exploration_initial_eps": 1.0, "exploration_final_eps": 1.0, "device": "cpu"}
    options["policy_kwargs"] = {**NET, "net_arch": [], **options.get("policy_kwargs", {})}
    model = algorithm(policy, Picture(rules), **usual | options)
    model.learn(1500)
    model.policy.set_training_mode(False)
    states = np.stack([picture(state) for state in range(END)]).transpose(0, 3, 1, 2)
    with th.no_grad():
        return action_values(model, th.as_tensor(states)).numpy()


def test_the_known_values_are_those_of_a_look_ahead_by_hand() -> None:
    assert optimal(CHOICE) == pytest.approx(np.array([[0.81, 0.3], [0.9, 0.829], [1.0, 0.81]]))
    assert optimal(CHAIN) == pytest.approx(np.array([[0.81, 0.81], [0.9, 0.9], [1.0, 1.0]]))


LESS = ("mse", "noisy", "quantiles", "quantiles, double", "quantiles, munchausen")


@pytest.mark.parametrize("name", [*longer(*LESS), *(name for name in VARIANTS if name not in LESS)])
def test_it_finds_the_values_of_the_best_choice(name: str) -> None:
    expected = munchausen(CHOICE, 1) if "munchausen" in name else optimal(CHOICE)
    assert learnt(CHOICE, **VARIANTS[name]) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["3 steps", *longer("rainbow", "best")])
def test_it_finds_the_values_with_returns_of_three_steps(name: str) -> None:
    expected = munchausen(CHAIN, 3) if name == "best" else optimal(CHAIN)
    assert learnt(CHAIN, n_steps=3, **WITH_N_STEPS[name]) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("n_steps", longer(1, 3))
def test_sb3_contribs_qr_dqn_finds_them_on_this_replay(n_steps: int) -> None:
    rules = CHOICE if n_steps == 1 else CHAIN
    options = {"n_steps": n_steps, "policy_kwargs": {"n_quantiles": 8}}
    assert learnt(rules, AtariQRDQN, **options) == pytest.approx(optimal(rules), abs=0.05)
