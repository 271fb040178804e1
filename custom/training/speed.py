"""How fast a recipe plays and learns here, measured for a few seconds before its run."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

from stable_baselines3.common.callbacks import BaseCallback

from custom.env.games import training_games
from custom.learner.off_policy import AtariOffPolicy
from custom.recipe.games import Game
from custom.recipe.recipe import WARM_UP_SHARE, Recipe
from custom.replay.buffer import bytes_per_step
from custom.training.prepare import make_learner, tried
from custom.training.settings import Settings, fitted

PLAYING, SETTLING, LEARNING = 1.5, 1.5, 5.0  # seconds; caches fill while it settles
BUFFER = 20_000  # steps of the replay buffer that is learnt from


@dataclass(frozen=True)
class Speed:
    """Seconds per step.

    :param playing: before learning starts
    :param learning: with the recipe's gradient steps
    :param step_bytes: of the replay of frames
    """

    playing: float
    learning: float
    step_bytes: int

    def __str__(self) -> str:
        return (
            f"{1 / self.learning:.0f} steps/s with learning and {1 / self.playing:.0f} without,"
            " measured just now; evaluations come on top"
        )

    def steps_in(self, seconds: float, learning_starts: int) -> int:
        """The largest budget in steps that fits into a time.

        :param learning_starts: steps without learning; at most a tenth of the budget is spent so
        """
        share = self.learning + (self.playing - self.learning) / WARM_UP_SHARE
        steps = seconds / share
        if steps > WARM_UP_SHARE * learning_starts:
            steps = (seconds + learning_starts * (self.learning - self.playing)) / self.learning
        return max(int(steps), 1)


class _Stopwatch(BaseCallback):
    """Plays, then learns, and measures both; it ends `learn`."""

    model: AtariOffPolicy

    def __init__(self, learning_starts: int) -> None:
        super().__init__()
        self.learning_starts = learning_starts
        self.playing = 0.0
        self.learning = 0.0

    def _on_training_start(self) -> None:
        self._start()
        self._is_settled = False

    def _start(self) -> None:
        self._began, self._first = time.perf_counter(), self.num_timesteps

    def _on_step(self) -> bool:
        seconds, steps = time.perf_counter() - self._began, self.num_timesteps - self._first
        if not self.playing:
            if seconds > PLAYING and self.num_timesteps > self.learning_starts:
                self.playing = seconds / steps
                self.model.learning_starts = 0
                self._start()
        elif not self._is_settled:
            if seconds > SETTLING:
                self._is_settled = True
                self._start()
        elif seconds > LEARNING:
            self.learning = seconds / steps
        return not self.learning


def measure(recipe: Recipe, game: Game, settings: Settings) -> Speed:
    """Play and learn for a few seconds with a small replay buffer.

    :raises UserError: the recipe cannot be trained as asked
    """
    values = recipe.hyperparams
    values = values.replace(buffer_size=min(values.buffer_size, BUFFER), n_timesteps=BUFFER)
    recipe = fitted(replace(recipe, hyperparams=values), settings.engine)
    arguments = tried(recipe, game, settings)
    least = values.batch_size + values.n_steps  # transitions from which a batch is sampled
    env = training_games(game, values, recipe.hyperparams.n_envs, 0, settings.engine.workers)
    with contextlib.closing(env):
        arguments |= {"learning_starts": 10**9, "buffer_size": values.buffer_size}
        # Epsilon as for most of a run, in which the network chooses the actions.
        arguments |= {"exploration_initial_eps": values.exploration_final_eps}
        stopwatch = _Stopwatch(least)
        make_learner(recipe, settings, env, arguments).learn(10**9, stopwatch)
        step_bytes = bytes_per_step(env.observation_space, values.frame_stack)
    return Speed(stopwatch.playing, stopwatch.learning, step_bytes)
