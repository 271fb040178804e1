"""What a study is about; written into its storage, so that every machine does the same."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from custom.engine import Engine
from custom.errors import UserError
from custom.recipe.games import Game, find_game
from custom.recipe.model import check
from custom.recipe.recipe import Recipe
from custom.search_spaces import space_of
from custom.tuning.space import Space

OBJECTIVES = ("final", "area")
PRUNERS = ("median", "hyperband", "none")
OF_A_MACHINE = ("largest_buffer",)  # may differ where the same command is given again
FINALISTS = 10**6  # their seeds are no trial's


@dataclass(frozen=True)
class Plan:
    """A study.

    :param env_id: of the game
    :param recipe: its name
    :param hyperparams: of the recipe, checked, with the budget of a trial
    :param seed: all others follow from it
    :param objective: ``final``: mean score of the last evaluation; ``area``: under the curve of
        mean scores over steps, as the mean of all evaluations, which are equally far apart
    :param evaluations: of each trial, the last one at its end
    :param episodes: full games of each evaluation
    :param search: dimensions that are searched; empty: all that the recipe has
    :param largest_buffer: steps of replay that a trial may have
    :param engine: of the trainings
    """

    env_id: str
    recipe: str
    algo: str
    hyperparams: dict[str, Any]
    seed: int = 0
    objective: str = "final"
    evaluations: int = 5
    episodes: int = 10
    pruner: str = "median"
    search: tuple[str, ...] = ()
    largest_buffer: int = 1_000_000
    engine: Engine = field(default_factory=Engine)

    @property
    def game(self) -> Game:
        """The game that is trained."""
        return find_game(self.env_id)

    @property
    def steps(self) -> int:
        """Of each trial."""
        return int(self.hyperparams["n_timesteps"])

    @property
    def is_cut(self) -> bool:
        """Whether the recipe's own replay would not fit."""
        asked = min(self.hyperparams.get("buffer_size", 1_000_000), self.steps)
        return bool(asked > self.largest_buffer)

    @property
    def space(self) -> Space:
        """What is searched."""
        values = dict(self.hyperparams)
        if self.is_cut:
            values["buffer_size"] = self.largest_buffer
        return space_of(values, self.algo, self.largest_buffer, list(self.search))

    def recipe_of(self, name: str, chosen: dict[str, Any]) -> Recipe:
        """The recipe at a point of the space."""
        values = check(self.space.resolve(chosen), self.algo)
        recipe = Recipe(name, self.algo, Path(f"{name}.yml"), values)
        return recipe.with_budget(self.steps)  # as make train reads it from a file

    def trial_seed(self, number: int) -> int:
        """Of a trial, or of one of the finalists' runs, from `FINALISTS` on."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0] >> 1)

    def value(self, means: list[float]) -> float:
        """The objective of the mean scores so far."""
        return means[-1] if self.objective == "final" else float(np.mean(means))

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """What `to_json` wrote."""
        content = json.loads(text)
        content["engine"] = Engine.recorded(content["engine"])
        content["search"] = tuple(content["search"])
        return cls(**content)

    def check_same(self, other: Plan, study: str) -> None:
        """Make sure that a command means the study that is there.

        :param other: the study's
        :raises UserError: it asks for something else
        """
        mine, theirs = self._compared(), other._compared()
        for name in (name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)):
            raise UserError(
                f"STUDY {study} was begun with {name} {_short(theirs.get(name))}, now it is"
                f" {_short(mine.get(name))}; name another one with STUDY="
            )

    def _compared(self) -> dict[str, Any]:
        """What makes a study another one, by name."""
        own = {k: v for k, v in dataclasses.asdict(self).items() if k not in OF_A_MACHINE}
        hyperparams, engine = own.pop("hyperparams"), own.pop("engine")
        return {**own, **hyperparams, **engine}


def _short(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("...")
    return text.strip() if len(text) < 60 else "other values"
