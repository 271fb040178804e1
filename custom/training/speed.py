"""What a training would take: its speed, measured for a few seconds, and all that follows."""

import contextlib
import time
from dataclasses import dataclass, replace
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from custom.env.games import make_games
from custom.learner.off_policy import AtariOffPolicy
from custom.recipe.games import Game
from custom.recipe.recipe import WARM_UP_SHARE, Recipe
from custom.replay.memory import replay_size, step_bytes
from custom.training.prepare import make_learner, tried
from custom.training.progress import duration
from custom.training.settings import Settings, fitted

PARTS = (1.5, 1.5, 5.0)  # seconds to play, to settle while caches fill, to learn
BUFFER = 20_000  # steps of the replay buffer that is learnt from


@dataclass(frozen=True)
class Speed:
    """Seconds per step.

    :param playing: before learning starts
    :param learning: with the recipe's gradient steps
    :param step_bytes: of the replay
    """

    playing: float
    learning: float
    step_bytes: int

    def __str__(self) -> str:
        return (
            f"{1 / self.learning:.0f} steps/s with learning and {1 / self.playing:.0f} without"
            " (measured); evaluations come on top"
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
    """Plays, settles while it learns, learns; then it ends `learn`.

    :ivar seconds_per_step: of each part
    """

    model: AtariOffPolicy

    def __init__(self, learning_starts: int) -> None:
        super().__init__()
        self.learning_starts = learning_starts
        self.seconds_per_step: list[float] = []

    def _on_training_start(self) -> None:
        self._began, self._first = time.perf_counter(), self.num_timesteps

    def _on_step(self) -> bool:
        seconds, steps = time.perf_counter() - self._began, self.num_timesteps - self._first
        done = self.seconds_per_step
        if seconds > PARTS[len(done)] and self.num_timesteps > self.learning_starts:
            done.append(seconds / steps)
            self.model.learning_starts = 0
            self._on_training_start()
        return len(done) < len(PARTS)


def measure(recipe: Recipe, game: Game, settings: Settings) -> Speed:
    """Play and learn for a few seconds with a small replay buffer.

    :raises UserError: the recipe cannot be trained as asked
    """
    values = recipe.hyperparams
    values = values.replace(buffer_size=min(values.buffer_size, BUFFER), n_timesteps=BUFFER)
    recipe = fitted(replace(recipe, hyperparams=values), settings.engine)
    arguments = tried(recipe, game, settings)
    least = values.batch_size + values.n_steps  # transitions from which a batch is sampled
    n_envs, workers = recipe.hyperparams.n_envs, settings.engine.workers
    env = make_games(game, values, n_envs, 0, workers=workers, wrappers=values.env_wrapper)
    with contextlib.closing(env):
        arguments |= {"learning_starts": 10**9, "buffer_size": values.buffer_size}
        # Epsilon as for most of a run, in which the network chooses the actions.
        arguments |= {"exploration_initial_eps": values.exploration_final_eps}
        stopwatch = _Stopwatch(least)
        make_learner(recipe, settings, env, arguments).learn(10**9, stopwatch)
        uses_frames = settings.engine.buffer == "frames"
        each = step_bytes(env.observation_space, values, uses_frames)
    playing, _, learning = stopwatch.seconds_per_step
    return Speed(playing, learning, each)


def extent(recipe: Recipe, settings: Settings, replay: int, step_bytes: int) -> str:
    """Updates, memory, disk and evaluations of a training, a line each.

    :param recipe: after `fitted`, with the budget of the run
    :param replay: its size in steps
    :param step_bytes: of the replay
    """
    settings = settings.resolved(recipe.n_timesteps)
    values, total = recipe.hyperparams, recipe.n_timesteps
    warm_up = min(values.learning_starts, total)
    every, unit = values.period
    updates = f"after each {unit}"
    if unit == "step":
        steps = every * values.n_envs
        each = values.gradient_steps if values.gradient_steps > 0 else steps
        updates = f"{(total - warm_up) // steps * each:,}, {each} after each {steps} steps"
    size = replay * step_bytes / 1e9
    evaluations = total // settings.eval_period
    return "\n".join(
        (
            f"games at once: {values.n_envs}; updates: {updates}",
            f"memory: {size:.3g} GB for a replay of {replay:,} steps",
            f"disk: up to {3 * size:.3g} GB while it trains, if its state is saved",
            f"evaluations: {evaluations}, full games in each: {settings.eval_episodes}",
        )
    )


def plan(
    recipe: Recipe, game: Game, settings: Settings, speed: Speed, parent: dict[str, Any] | None
) -> str:
    """The resolved recipe, its `extent` and the time of a training.

    What evaluations take is known only from an agent that plays as the trained one does, so they
    are counted and not timed.

    :param recipe: with the budget of the run
    :param parent: as of `prepare`
    """
    recipe, total = fitted(recipe, settings.engine), recipe.n_timesteps
    warm_up = min(recipe.hyperparams.learning_starts, total)
    seconds = warm_up * speed.playing + (total - warm_up) * speed.learning
    return "\n".join(
        (
            recipe.to_yaml(game.env_id),
            extent(recipe, settings, replay_size(recipe.hyperparams, parent), speed.step_bytes),
            f"time: {duration(seconds)} by {speed}",
            "DRY_RUN=1: nothing was trained and nothing written",
        )
    )
