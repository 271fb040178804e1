"""How fast a recipe is computed; what is learnt is the recipe's.

Defaults are those of `make train`: the same algorithm, with float32's own rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from custom.errors import UserError
from custom.recipe.model import Hyperparams
from custom.recipe.recipe import Recipe

BUFFERS = ("frames", "sb3")
STORAGES = ("auto", "cpu")
UPDATES = ("fast", "sb3")
PRECISIONS = ("float32", "tf32", "bf16")


@dataclass(frozen=True)
class Engine:
    """Settings of the engine.

    :param buffer: ``frames``: `FrameReplayBuffer`; ``sb3``: what the recipe names, or SB3's
    :param storage: where ``frames`` lie: ``auto`` (with the network), ``cpu``
    :param update: ``fast``, or ``sb3`` for its arithmetic bit for bit
    :param precision: of the network: ``float32`` as PyTorch is set up, ``tf32`` on a GPU, ``bf16``
    :param n_envs: environments at the recipe's own ratio of updates; 0: as the recipe says
    :param workers: processes that play in training; 0: as many as threads, where that pays
    :param threads: of PyTorch on the CPU; 0: as PyTorch chooses
    """

    buffer: str = "frames"
    storage: str = "auto"
    update: str = "fast"
    precision: str = "float32"
    n_envs: int = 0
    workers: int = 0
    threads: int = 0

    @classmethod
    def recorded(cls, facts: Mapping[str, Any]) -> Engine:
        """The engine of a run or a study, from what was written down of it.

        :raises UserError: it was one that this version no longer has
        """
        if facts.get("env", "sb3") != "sb3":
            raise UserError("it was trained with ENGINE=native, which is gone; train anew")
        names = [field.name for field in fields(cls) if field.name in facts]
        return cls(**{name: facts[name] for name in names})

    def resolve(self, recipe: Recipe) -> Recipe:
        """The recipe as this engine plays it, with a note on each change.

        :raises UserError: it cannot
        """
        own = recipe.hyperparams.replay_buffer_class
        if own and self.buffer == "frames":
            note = f"replay: {own}, as the recipe says, not BUFFER=frames"
            recipe = replace(recipe, notes=(*recipe.notes, note))
        if recipe.algo != "dqn" and (self.precision != "float32" or self.update != "fast"):
            flags = "--precision and --update"
            raise UserError(
                f"{recipe.file}: {flags} are not for {recipe.algo}, of sb3-contrib; leave them out"
            )
        try:
            return self._with_envs(recipe)
        except ValueError as error:
            raise UserError(f"{recipe.file}: {error}") from None

    def _with_envs(self, recipe: Recipe) -> Recipe:
        if not self.n_envs:
            return recipe
        changes = at_the_same_ratio(recipe.hyperparams, self.n_envs)
        values = recipe.hyperparams.replace(**changes)
        note = (
            f"environments: {self.n_envs}; gradient_steps {values.gradient_steps} after"
            f" train_freq {values.train_freq} keep the recipe's updates per step"
        )
        return replace(recipe, hyperparams=values, notes=(*recipe.notes, note))


def at_the_same_ratio(hyperparams: Hyperparams, n_envs: int) -> dict[str, Any]:
    """`n_envs`, `train_freq` and `gradient_steps` for other environments at as many updates a step.

    `train_freq` counts steps of all environments at once. The smallest one is taken at which a
    whole number of updates falls due, so that they come as evenly as they can.

    :raises ValueError: `train_freq` is in episodes
    """
    every, unit = hyperparams.period
    if unit != "step":
        raise ValueError("several environments need train_freq in steps, not in episodes")
    updates = hyperparams.gradient_steps
    if updates < 0:  # as many as steps, however many there are
        return {"n_envs": n_envs, "train_freq": every, "gradient_steps": updates}
    steps = every * hyperparams.n_envs  # in which the recipe makes its updates
    freq = next(f for f in range(1, steps + 1) if updates * f * n_envs % steps == 0)
    return {
        "n_envs": n_envs,
        "train_freq": freq,
        "gradient_steps": updates * freq * n_envs // steps,
    }
