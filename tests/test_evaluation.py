"""The evaluation protocol on real games and hand-computed numbers, and published scores."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ale_py import roms
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecEnv

from custom.env.games import make_games
from custom.evaluation import scores
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
from custom.evaluation.scores import PUBLISHED, human_normalised, published, reference
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


def test_each_game_explores_by_itself_at_the_stated_rate(model: DQN, env: VecEnv) -> None:
    obs = np.repeat(env.reset()[:1], 400, axis=0)
    rng = np.random.default_rng(0)
    greedy = model.predict(obs[:1], deterministic=True)[0][0]
    assert set(epsilon_greedy(model, 0.0, rng)(obs)) == {greedy}
    assert set(epsilon_greedy(model, 1.0, rng)(obs)) == {0, 1, 2, 3}
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


class Clockwork:
    """Games that last as long as their number says, and score it."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths, self.time, self.num_envs = lengths, 0, len(lengths)

    def reset(self) -> np.ndarray:
        return np.zeros((self.num_envs, 1))

    def step(self, _: np.ndarray) -> tuple:
        self.time += 1
        infos = [{} if self.time % n else {"episode": {"r": n, "l": n}} for n in self.lengths]
        return self.reset(), None, None, infos


@pytest.mark.parametrize("training_seed", [0, 1, 7, 1_000_000])
def test_no_evaluation_plays_the_games_of_a_training(training_seed: int) -> None:
    trainings = set(range(training_seed, training_seed + 64))  # one seed an environment
    for numbers in [(training_seed,), (0,), (training_seed, 10_000)]:
        first = evaluation_seed(*numbers)
        assert not trainings & set(range(first, first + 8))
    assert len({evaluation_seed(*numbers) for numbers in [(0,), (1,), (0, 10), (0, 20)]}) == 4


def test_the_games_of_an_evaluation_are_full_ones_and_can_be_stopped(env: VecEnv) -> None:
    scores = play_games(random_actions(4, seed=0), env, episodes=6)
    assert len(scores.scores) == 6
    assert min(scores.frames) > 500  # five lives, not one
    assert all(score == int(score) >= 0 for score in scores.scores)
    assert play_games(random_actions(4, 0), env, 6, should_stop=lambda: True).scores == []


def test_the_same_protocol_gives_the_same_scores_and_long_games_count_as_often() -> None:
    protocol = Protocol(episodes=2, seed=7)
    first, second = (protocol.play(random_actions(4, 1), BREAKOUT, RECIPE) for _ in range(2))
    assert first == second
    scores = play_games(constant_action(0), Clockwork([1, 10, 100]), episodes=7)
    assert sorted(scores.scores) == [1, 1, 10, 10, 100, 100, 100]


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


def test_each_row_is_a_rom_and_is_read_as_written() -> None:
    with Path(scores.__file__).with_name("reference_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["rom"] for row in rows]
    assert set(names) <= set(roms.get_all_rom_ids())
    assert len(names) == len(set(names)) == 57
    filled = {column: sum(row[column] != "" for row in rows) for column in PUBLISHED}
    assert list(filled.values()) == [57, 57, 49, 10]
    for row in rows:
        said = {name: float(text) for name, text in row.items() if name != "rom" and text}
        assert reference(row["rom"]) == said
        assert human_normalised(row["rom"], float(row["random"])) == 0.0
        assert human_normalised(row["rom"], float(row["human"])) == 1.0
        assert float(row["human"]) > float(row["random"])


def test_normalisation_by_hand_and_none_without_two_ends(monkeypatch: Patch) -> None:
    # Space Invaders: human - random = 1668.7 - 148 = 1520.7
    assert human_normalised("space_invaders", 1976.0) == pytest.approx(1828 / 1520.7)
    assert human_normalised("space_invaders", 622.7) == pytest.approx(0.31216, abs=1e-5)
    assert human_normalised("space_invaders", 0.0) == pytest.approx(-148 / 1520.7)
    # Pong, where both scores may be negative: 14.6 + 20.7 = 35.3
    assert human_normalised("pong", -21.0) == pytest.approx(-0.3 / 35.3)
    assert human_normalised("carnival", 1000.0) is None
    ends = {"flat": {"random": 3.0, "human": 3.0}, "half": {"random": 3.0}}
    monkeypatch.setattr(scores, "_table", lambda: ends)
    assert human_normalised("flat", 3.0) is None
    assert human_normalised("half", 3.0) is None


def test_published_rows_leave_out_what_is_unknown_but_keep_zero() -> None:
    nature, zoo = "DQN (Nature 2015, 200M frames)", "zoo DQN (40M frames)"
    all_of_them = ["random play", "human", nature, zoo]
    assert [level.label for level in published("space_invaders")] == all_of_them
    assert all(level.source for level in published("space_invaders"))
    assert [level.label for level in published("montezuma_revenge")] == all_of_them[:3]
    assert published("montezuma_revenge")[0].score == 0.0
    assert [level.label for level in published("skiing")] == all_of_them[:2]
    assert published("carnival") == []
