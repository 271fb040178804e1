"""How a recipe is run: all that a user sets outside the recipe."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from custom.learner.engine import Engine
from custom.recipe.recipe import Recipe
from custom.system.errors import UserError
from custom.tracking.wish import Tracking


@dataclass(frozen=True)
class Settings:
    """Settings of one run.

    :param seed: of all random numbers
    :param logs: folder of all runs
    :param device: as PyTorch names it, or ``auto``
    :param eval_freq: steps between evaluations; 0: a twentieth of the budget, 10,000 to 250,000;
        -1: no evaluations
    :param eval_episodes: full games of an evaluation
    :param save_freq: steps between checkpoints; 0: as `eval_freq`
    :param save_state: save before each checkpoint what `make resume` needs, if it `can_be_saved`
    """

    seed: int
    logs: Path = Path("logs")
    device: str = "auto"
    eval_freq: int = 0
    eval_episodes: int = 10
    save_freq: int = 0
    save_state: bool = True
    engine: Engine = field(default_factory=Engine)
    tracking: Tracking = field(default_factory=Tracking)

    def resolved(self, n_timesteps: int) -> "Settings":
        """A copy with `eval_freq` other than 0, and `save_freq` above 0.

        :param n_timesteps: the run's budget in steps
        """
        # Ten games take about as long as 10,000 steps of warm-up.
        usual = min(max(n_timesteps // 20, 10_000), 250_000, n_timesteps)
        eval_freq = self.eval_freq or usual
        save_freq = self.save_freq or (eval_freq if eval_freq > 0 else usual)
        return replace(self, eval_freq=eval_freq, save_freq=save_freq)

    @property
    def eval_period(self) -> int:
        """Steps between evaluations; without any, more than there ever are."""
        return self.eval_freq if self.eval_freq > 0 else sys.maxsize


def fitted(recipe: Recipe, engine: Engine) -> Recipe:
    """The recipe with an engine's `n_envs`.

    :raises UserError: the engine's settings do not fit the recipe's algorithm or this machine
    """
    if recipe.algo != "dqn" and (engine.precision != "float32" or engine.update != "fast"):
        raise UserError(
            f"{recipe.file}: --precision and --update are not for {recipe.algo}, of sb3-contrib;"
            " leave them out"
        )
    try:
        return recipe.with_envs(engine.n_envs) if engine.n_envs else recipe
    except ValueError as error:
        raise UserError(f"{recipe.file}: {error}") from None
