"""The evaluation protocol: full games, raw points, a fixed epsilon.

As in Mnih et al. 2015 (https://www.nature.com/articles/nature14236), 1-30 no-ops at the start and
epsilon 0.05; but a game lasts up to 108,000 frames (30 minutes), as in later papers, not 18,000.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from custom.env.games import MAX_FRAMES, frame_skip, make_games
from custom.evaluation import EPSILON
from custom.recipe.games import STICKY_PROBABILITY, Game
from custom.recipe.model import Hyperparams
from custom.wrappers import NOOP_MAX

Act = Callable[[npt.NDArray[Any]], npt.NDArray[np.int64]]
N_ENVS = 8
BOOTSTRAP_DRAWS = 10_000


@dataclass(frozen=True)
class Scores:
    """Results of full games.

    :param scores: raw points of each game
    :param frames: length of each game
    """

    scores: list[float]
    frames: list[int]

    @property
    def mean(self) -> float:
        """Mean raw points."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """Population standard deviation over the games, as leaderboards take it."""
        return float(np.std(self.scores))

    def summary(self) -> dict[str, Any]:
        """Mean, spread and a 95 % bootstrap interval of the mean, for a JSON file."""
        interval = bootstrap_interval(self.scores)
        return {
            "episodes": len(self.scores),
            "mean": self.mean,
            "std": self.std,
            "median": float(np.median(self.scores)),
            "mean_95": interval and list(interval),
            "mean_minus_std": self.mean - self.std,
            "scores": self.scores,
            "game_frames": self.frames,
        }


def evaluation_seed(*numbers: int) -> int:
    """A seed for the games of an evaluation, far from the small seeds of trainings."""
    return int(np.random.SeedSequence((0xE7A1, *numbers)).generate_state(1)[0])


def bootstrap_interval(scores: list[float], seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile-bootstrap interval of the mean (Efron 1979); None for fewer than 2 scores."""
    if len(scores) < 2:
        return None
    draws = np.random.default_rng(seed).choice(scores, (BOOTSTRAP_DRAWS, len(scores)))
    low, high = np.percentile(draws.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def interval_text(summary: dict[str, Any]) -> str:
    """The interval of `Scores.summary` for a table."""
    if summary["mean_95"] is None:
        return "one game has no interval"
    low, high = summary["mean_95"]
    return f"95 % of the mean: {low:.1f} to {high:.1f}"


@dataclass(frozen=True)
class Protocol:
    """The settings of an evaluation; only scores with the same ones compare.

    :param epsilon: share of random actions; None for players that are no agents
    :param seed: of its games, which no training plays
    """

    episodes: int = 30
    epsilon: float | None = EPSILON
    seed: int = 0

    @property
    def n_envs(self) -> int:
        """Games played in parallel."""
        return min(N_ENVS, self.episodes)

    def describe(self, game: Game, hyperparams: Hyperparams) -> dict[str, Any]:
        """All settings, for a JSON file."""
        kwargs = hyperparams.env_kwargs.given
        sticky = STICKY_PROBABILITY if game.sticky else 0.0
        return {
            **asdict(self),
            "n_envs": self.n_envs,
            "full_games": True,
            "noop_max": NOOP_MAX,
            "max_frames": MAX_FRAMES,
            "frame_skip": frame_skip(hyperparams),
            "repeat_action_probability": kwargs.pop("repeat_action_probability", sticky),
            **({"env_kwargs": kwargs} if kwargs else {}),
        }

    def play(
        self,
        act: Act | BaseAlgorithm,
        game: Game,
        hyperparams: Hyperparams,
        should_stop: Callable[[], bool] = lambda: False,
        tell: Callable[[int], None] = lambda done: None,
    ) -> Scores:
        """Play new games with an agent or a function of observations, as `play_games` does.

        It may start processes: a script that calls it needs ``if __name__ == "__main__":``.
        """
        env = make_games(game, hyperparams, self.n_envs, evaluation_seed(self.seed), workers=0)
        try:
            if isinstance(act, BaseAlgorithm):
                assert self.epsilon is not None
                act = epsilon_greedy(act, self.epsilon, np.random.default_rng(self.seed))
            return play_games(act, env, self.episodes, should_stop, tell)
        finally:
            env.close()


def epsilon_greedy(model: BaseAlgorithm, epsilon: float, rng: np.random.Generator) -> Act:
    """Epsilon-greedy actions, sampled per environment.

    `DQN.predict` samples once for all environments, at the training's current epsilon, and from the
    training's generator.

    :param model: any SB3 algorithm with discrete actions
    :param epsilon: in [0, 1]
    """

    def act(obs: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        greedy, _ = model.predict(obs, deterministic=True)
        explore = rng.random(len(greedy)) < epsilon
        n_actions = int(model.action_space.n)  # type: ignore[attr-defined]
        return np.where(explore, rng.integers(n_actions, size=len(greedy)), greedy)

    return act


def play_games(
    act: Act,
    env: VecEnv,
    episodes: int,
    should_stop: Callable[[], bool] = lambda: False,
    tell: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Play full games, a fixed number in each environment; the first to end would be short ones.

    :param act: observations → actions, both with the environments as first axis
    :param episodes: games in all
    :param should_stop: asked at every step; the games finished so far are returned
    :param tell: called at every step with the number of finished games
    """
    quota = [(episodes + i) // env.num_envs for i in range(env.num_envs)]
    scores: list[list[float]] = [[] for _ in quota]
    frames: list[list[int]] = [[] for _ in quota]
    obs = env.reset()
    while any(len(s) < q for s, q in zip(scores, quota, strict=True)) and not should_stop():
        obs, _, _, infos = env.step(act(obs))  # type: ignore[arg-type]
        for i, info in enumerate(infos):
            if "episode" in info and len(scores[i]) < quota[i]:
                scores[i].append(float(info["episode"]["r"]))
                frames[i].append(int(info["episode"]["l"]))
        tell(sum(map(len, scores)))
    return Scores([s for env in scores for s in env], [f for env in frames for f in env])
