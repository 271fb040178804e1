"""What a study is about. It is kept in the study, so that every machine does the same."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom.recipe.check import check
from custom.recipe.games import Game, find_game
from custom.recipe.recipe import Recipe
from custom.system.errors import UserError
from custom.tuning.space import Space, space_of

FINALISTS = 10**6  # numbers of their runs begin here: no trial has one of their seeds


@dataclass(frozen=True)
class Plan:
    """A study. A trial's value is the mean score of its last evaluation.

    :param recipe: its name
    :param hyperparams: of the recipe, checked, with the budget of a trial
    :param seed: the seeds of all trials and finalists follow from it
    :param evaluations: in each trial, the last one at its end
    :param episodes: full games in each evaluation
    :param pruner: ``median`` or ``none``
    :param search: names of the dimensions that are searched; empty: all that the recipe has
    :param largest_buffer: steps of replay that the search may choose at most
    :param n_envs: games at once; 0: the recipe's number
    """

    env_id: str
    recipe: str
    algo: str
    hyperparams: dict[str, Any]
    seed: int = 0
    evaluations: int = 5
    episodes: int = 10
    pruner: str = "median"
    search: tuple[str, ...] = ()
    largest_buffer: int = 1_000_000
    n_envs: int = 0

    @property
    def game(self) -> Game:
        """The game that is trained."""
        return find_game(self.env_id)

    @property
    def steps(self) -> int:
        """Budget of a trial."""
        return int(self.hyperparams["n_timesteps"])

    @property
    def space(self) -> Space:
        """What is searched."""
        return space_of(self.hyperparams, self.algo, self.largest_buffer, list(self.search))

    @property
    def largest_replay(self) -> int:
        """Steps of the largest replay that a trial may have."""
        own = int(min(self.hyperparams.get("buffer_size", 1_000_000), self.steps))
        is_searched = not self.search or "buffer_size" in self.search
        return max(own, min(self.largest_buffer, self.steps)) if is_searched else own

    def recipe_of(self, name: str, chosen: dict[str, Any]) -> Recipe:
        """The recipe at a point of the space."""
        values = check(self.space.resolve(chosen), self.algo)
        recipe = Recipe(name, self.algo, Path(f"{name}.yml"), values)
        return recipe.with_budget(self.steps)  # as make train reads it from a file

    def seed_of(self, number: int) -> int:
        """The seed of a trial, or of a finalist's run, which are numbered from `FINALISTS` on."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0] >> 1)

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """What `to_json` wrote."""
        content = json.loads(text)
        return cls(**{**content, "search": tuple(content["search"])})

    def check_same(self, begun: Plan, study: str) -> None:
        """Make sure that a command is about the same as the study of that name.

        :raises UserError: it is not; the memory of a machine makes no other study
        """
        asked, was = ({**vars(plan), **plan.hyperparams} for plan in (self, begun))
        for name in sorted({*asked, *was} - {"largest_buffer", "hyperparams"}):
            if asked.get(name) != was.get(name):
                raise UserError(
                    f"STUDY {study} was begun with {name} {was.get(name)}, now it is"
                    f" {asked.get(name)}; name another one with STUDY="
                )
