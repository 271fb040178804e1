"""What a training would do and cost, without doing it."""

from __future__ import annotations

from custom.recipe.games import Game
from custom.recipe.recipe import Recipe
from custom.replay.memory import replay_size
from custom.training.progress import duration
from custom.training.settings import Settings, fitted
from custom.training.speed import measure


def plan(recipe: Recipe, game: Game, settings: Settings) -> str:
    """The resolved recipe, memory, disk, updates, evaluations and time of a training.

    Speed is measured for a few seconds. What evaluations take is known only from an agent that
    plays as the trained one does, so they are counted and not timed.

    :param recipe: with the budget of the run
    :raises UserError: the recipe cannot be trained as asked
    """
    recipe, settings = fitted(recipe, settings.engine), settings.resolved(recipe.n_timesteps)
    speed, values, total = measure(recipe, game, settings), recipe.hyperparams, recipe.n_timesteps
    warm_up = min(values.learning_starts, total)
    every, unit = values.period
    updates = f"after each {unit}"
    if unit == "step":
        steps = every * values.n_envs
        each = values.gradient_steps if values.gradient_steps > 0 else steps
        updates = f"{(total - warm_up) // steps * each:,}, {each} after each {steps} steps"
    size = replay_size(values) * speed.step_bytes / 1e9
    evaluations = total // settings.eval_freq
    seconds = warm_up * speed.playing + (total - warm_up) * speed.learning
    return "\n".join(
        (
            recipe.to_yaml(game.env_id),
            f"games at once: {values.n_envs}; updates: {updates}",
            f"memory: {size:.1f} GB for a replay of {replay_size(values):,} steps",
            f"disk: up to {3 * size:.1f} GB while it trains, if its state is saved",
            f"evaluations: {evaluations}, each of {settings.eval_episodes} full games",
            f"time: {duration(seconds)} by {speed}",
            "DRY_RUN=1: nothing was trained and nothing written",
        )
    )
