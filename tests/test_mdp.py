"""Every way to learn values, on a game of three states whose values are known."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from custom.learner.dqn import AtariDQN, AtariQRDQN
from custom.networks import ConvNet
from custom.policies import AtariPolicy
from custom.runs.agents import action_values
from tests.conftest import longer

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
