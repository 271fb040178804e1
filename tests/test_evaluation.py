"""The evaluation protocol, on real games and on hand-computed numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecEnv

from custom.env.games import make_games
from custom.evaluation.baselines import (
    action_names,
    baselines,
    constant_action,
    measure_baselines,
    random_actions,
)
from custom.evaluation.film import show_window
from custom.evaluation.protocol import (
    Protocol,
    Scores,
    bootstrap_interval,
    epsilon_greedy,
    evaluation_seed,
    interval_text,
    play_games,
)
from custom.recipe.games import find_game
from custom.runs.folder import Run
from custom.system.errors import UserError
from tests.conftest import Patch, typed

BREAKOUT = find_game("Breakout")
RECIPE = typed({})


@pytest.fixture(scope="module")
def env() -> VecEnv:
    return make_games(BREAKOUT, RECIPE, n_envs=4, seed=0)


@pytest.fixture(scope="module")
def model(env: VecEnv) -> DQN:
    kwargs = {"features_extractor_kwargs": {"features_dim": 16}}
    return DQN("CnnPolicy", env, buffer_size=1, policy_kwargs=kwargs, seed=0, device="cpu")


def test_epsilon_one_plays_every_action_and_zero_the_greedy_one(model: DQN, env: VecEnv) -> None:
    obs = np.repeat(env.reset()[:1], 400, axis=0)
    rng = np.random.default_rng(0)
    greedy = model.predict(obs[:1], deterministic=True)[0][0]
    assert set(epsilon_greedy(model, 0.0, rng)(obs)) == {greedy}
    assert set(epsilon_greedy(model, 1.0, rng)(obs)) == {0, 1, 2, 3}


def test_each_game_explores_by_itself_at_the_stated_rate(model: DQN, env: VecEnv) -> None:
    obs = np.repeat(env.reset()[:1], 4000, axis=0)
    greedy = model.predict(obs[:1], deterministic=True)[0][0]
    others = np.mean(epsilon_greedy(model, 0.2, np.random.default_rng(0))(obs) != greedy)
    assert others == pytest.approx(0.2 * 3 / 4, abs=0.02)


def test_evaluating_ignores_the_trainings_epsilon_and_generator(model: DQN, env: VecEnv) -> None:
    model.exploration_rate = 1.0
    np.random.seed(0)  # the generator that SB3 uses
    before = np.random.get_state()[1].copy()
    obs = np.repeat(env.reset()[:1], 100, axis=0)
    assert len(set(epsilon_greedy(model, 0.0, np.random.default_rng(0))(obs))) == 1
    assert np.array_equal(before, np.random.get_state()[1])


class Clockwork(VecEnv):
    """Games that last as long as their number says, and score it."""

    def __init__(self, lengths: list[int]) -> None:
        space = spaces.Box(0, 1, (1,))
        super().__init__(len(lengths), space, spaces.Discrete(2))
        self.lengths, self.time = lengths, 0

    def reset(self) -> np.ndarray:
        return np.zeros((self.num_envs, 1))

    def step_async(self, actions: np.ndarray) -> None:
        self.time += 1

    def step_wait(self) -> tuple:
        ends = [self.time % length == 0 for length in self.lengths]
        infos = [
            {"episode": {"r": n, "l": n}} if end else {}
            for n, end in zip(self.lengths, ends, strict=True)
        ]
        return self.reset(), np.zeros(self.num_envs), np.array(ends), infos

    def close(self) -> None: ...
    def get_attr(self, *_: object) -> list:
        return [None] * self.num_envs

    def set_attr(self, *_: object) -> None: ...
    def env_method(self, *_: object, **__: object) -> list: ...
    def env_is_wrapped(self, *_: object) -> list: ...


def test_long_games_count_as_often_as_short_ones() -> None:
    scores = play_games(constant_action(0), Clockwork([1, 10, 100]), episodes=7)
    assert sorted(scores.scores) == [1, 1, 10, 10, 100, 100, 100]


@pytest.mark.parametrize("training_seed", [0, 1, 7, 1_000_000])
def test_no_evaluation_plays_the_games_of_a_training(training_seed: int) -> None:
    trainings = set(range(training_seed, training_seed + 64))  # one seed an environment
    for numbers in [(training_seed,), (0,), (training_seed, 10_000)]:
        first = evaluation_seed(*numbers)
        assert not trainings & set(range(first, first + 8))


def test_evaluations_of_other_seeds_and_other_steps_play_other_games() -> None:
    assert len({evaluation_seed(*numbers) for numbers in [(0,), (1,), (0, 10), (0, 20)]}) == 4


def test_the_games_of_an_evaluation_are_full_ones_and_can_be_stopped(env: VecEnv) -> None:
    scores = play_games(random_actions(4, seed=0), env, episodes=6)
    assert len(scores.scores) == 6
    assert min(scores.frames) > 500  # five lives, not one
    assert all(score == int(score) >= 0 for score in scores.scores)
    assert play_games(random_actions(4, 0), env, 6, should_stop=lambda: True).scores == []


def test_the_same_protocol_gives_the_same_scores() -> None:
    protocol = Protocol(episodes=2, seed=7)
    first, second = (protocol.play(random_actions(4, 1), BREAKOUT, RECIPE) for _ in range(2))
    assert first == second


def test_the_summary_is_the_hand_computed_one() -> None:
    summary = Scores([0.0, 10.0, 20.0, 10.0], [1, 2, 3, 4]).summary()
    assert summary["mean"] == 10.0
    assert summary["median"] == 10.0
    assert summary["std"] == pytest.approx(50**0.5)  # sqrt((100 + 0 + 100 + 0) / 4)
    assert summary["mean_minus_std"] == pytest.approx(10 - 50**0.5)


def test_the_bootstrap_interval_is_the_normal_one_and_a_single_game_has_none() -> None:
    scores = list(np.random.default_rng(0).normal(100, 20, 400))
    low, high = bootstrap_interval(scores)
    half = 1.96 * np.std(scores) / 400**0.5
    assert low == pytest.approx(np.mean(scores) - half, abs=0.2)
    assert high == pytest.approx(np.mean(scores) + half, abs=0.2)
    summary = Scores([-21.0], [3000]).summary()
    assert summary["mean_95"] is None
    assert interval_text(summary) == "one game has no interval"


def test_full_action_space_alone_makes_no_other_game() -> None:
    assert typed({"env_kwargs": {"full_action_space": True}}).env_kwargs.variant == {}
    other = {"mode": 1, "repeat_action_probability": 0.1}
    all_of_them = typed({"env_kwargs": {"full_action_space": True, **other}})
    assert all_of_them.env_kwargs.variant == other


def test_baselines_name_the_best_single_action(tmp_path: Path) -> None:
    told: dict[str, Any] = {}
    freeway = find_game("Freeway")  # two minutes a game, whatever is done
    file = tmp_path / "new" / "file.json"
    best = measure_baselines(file, freeway, RECIPE, Protocol(episodes=1), told.__setitem__)
    assert list(told) == ["random", *action_names(freeway, RECIPE)]
    assert list(told) == ["random", "NOOP", "UP", "DOWN"]
    assert best == "UP"
    assert told["UP"]["mean"] > 15
    assert told["NOOP"]["mean"] == 0
    [random, up] = baselines(file, RECIPE)
    assert (random.label, random.score) == ("random play", told["random"]["mean"])
    assert (up.label, up.score) == ("only UP", told["UP"]["mean"])
    assert up.source == "best single action, measured here, 1 games"
    assert baselines(file, typed({"env_kwargs": {"mode": 1}})) == []


@pytest.mark.parametrize("display", ["", ":99"])
def test_a_window_needs_a_display(display: str, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    run = Run(tmp_path, {"env_id": "PongNoFrameskip-v4"})
    with pytest.raises(UserError, match="there is no display for a window; make record"):
        show_window(run, "final", 0.05, 0, "cpu", 1)
