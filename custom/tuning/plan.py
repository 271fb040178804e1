"""What a study is about. It is kept in the study, so that every machine does the same."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from custom.learner.engine import Engine
from custom.recipe.check import check
from custom.recipe.games import Game, find_game
from custom.recipe.recipe import Recipe
from custom.system.errors import UserError
from custom.tuning.space import Space, space_of

FINALISTS = 10**6  # numbers of their runs begin here: no trial has one of their seeds


@dataclass(frozen=True)
class Plan:
    """A study.

    :param recipe: its name
    :param hyperparams: of the recipe, checked, with the budget of a trial
    :param seed: the seeds of all trials and finalists follow from it
    :param objective: ``final``: mean score of the last evaluation; ``area``: under the curve of
        mean scores over steps, as the mean of all evaluations, which are equally far apart
    :param evaluations: in each trial, the last one at its end
    :param episodes: full games in each evaluation
    :param search: names of the dimensions that are searched; empty: all that the recipe has
    :param largest_buffer: steps of replay that a trial may have at most
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
        """Budget of a trial."""
        return int(self.hyperparams["n_timesteps"])

    @property
    def is_cut(self) -> bool:
        """Whether the recipe's replay does not fit into the memory."""
        size = min(self.hyperparams.get("buffer_size", 1_000_000), self.steps)
        return bool(size > self.largest_buffer)

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
        """The seed of a trial, or of a finalist's run, which are numbered from `FINALISTS` on."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0] >> 1)

    def value(self, means: list[float]) -> float:
        """The objective, given the mean scores of the evaluations so far."""
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
        """Make sure that a command is about the same as the study of that name.

        :param other: the study's plan
        :raises UserError: it is not
        """
        asked, begun = self._compared(), other._compared()
        for name in {**asked, **begun}:
            if asked.get(name) != begun.get(name):
                raise UserError(
                    f"STUDY {study} was begun with {name} {_short(begun.get(name))}, now it is"
                    f" {_short(asked.get(name))}; name another one with STUDY="
                )

    def _compared(self) -> dict[str, Any]:
        """What makes another study, by name; the memory of a machine does not."""
        fields = dataclasses.asdict(self)
        del fields["largest_buffer"]
        hyperparams, engine = fields.pop("hyperparams"), fields.pop("engine")
        return {**fields, **hyperparams, **engine}


def _short(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("...")
    return text.strip() if len(text) < 60 else "other values"
