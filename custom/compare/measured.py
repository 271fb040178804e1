"""What is compared of a run, whether it was read from a folder or from W&B."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from custom.evaluation.scores import human_normalised
from custom.recipe.games import Game, find_game
from custom.recipe.model import Hyperparams
from custom.runs.metrics import FloatArray, core_hours
from custom.runs.provenance import versions_of
from custom.system.errors import UserError

PROTOCOL = ("epsilon", "episodes", "noop_max", "repeat_action_probability", "max_frames")
LARGEST = 1e12  # no score and no budget is larger
ENGINE = {"env": "sb3", "precision": "float32"}  # what can change the result, and its default


@dataclass(frozen=True, eq=False)
class Measured:
    """A finished run.

    :param name: run folder, or address on W&B
    :param budget: of the training, in frames
    :param protocol: of its evaluations, the values that `PROTOCOL` names
    :param engine: the values that `ENGINE` names
    :param variant: what makes it another game than the published one
    :param steps: (N,), of its evaluations
    :param scores: (N, games), raw points
    :param started: ISO 8601; of two runs with one seed the later counts
    :param made_with: revision, versions and machine, which may differ within a column
    :param seconds: duration of the training; None: unknown
    :param core_hours: CPU hours of its process without evaluations; None: unknown
    :param video: of the agent
    :param baselines: result of `make baselines` for the game and recipe
    """

    name: str
    game: Game
    recipe: str
    algo: str
    seed: int
    budget: int
    frame_skip: int
    protocol: dict[str, float]
    engine: dict[str, str]
    hyperparams: dict[str, Any]
    variant: dict[str, Any]
    steps: FloatArray
    scores: FloatArray
    started: str = ""
    made_with: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    core_hours: float | None = None
    video: Path | None = None
    baselines: dict[str, Any] | None = None

    @property
    def played(self) -> str:
        """The game that was played: its environment id, and its variant."""
        return " ".join([self.game.env_id, *(f"{k} {v}" for k, v in self.variant.items())])

    def human_normalised(self, score: float) -> float | None:
        """See `custom.evaluation.scores`; None for another game than the published one."""
        return None if self.variant else human_normalised(self.game.rom, score)

    @property
    def frames(self) -> FloatArray:
        """(N,), of its evaluations."""
        return self.steps * self.frame_skip

    @property
    def means(self) -> FloatArray:
        """(N,), mean raw score of each evaluation."""
        means: FloatArray = self.scores.mean(axis=1)
        return means


def measured(
    name: str,
    facts: dict[str, Any],
    hyperparams: Hyperparams,
    steps: FloatArray,
    scores: FloatArray,
    **more: Any,
) -> Measured:
    """A run from its run.json and its evaluations.

    :param more: video and baselines
    :raises UserError: it cannot be compared: not finished, not evaluated, or damaged
    """
    if facts.get("state") != "finished":
        raise UserError(f"{name}: {facts.get('state')}, not finished")
    if "eval_protocol" not in facts:
        raise UserError(f"{name}: the protocol of its evaluations is unknown")
    if not scores.size:
        raise UserError(f"{name}: has no evaluation during its training")
    numbers = np.array([*steps, *scores.flat])
    if not ((np.abs(numbers) < LARGEST).all() and (np.diff(steps, prepend=0) > 0).all()):
        raise UserError(f"{name}: its evaluations are not finite, or their steps do not increase")
    try:
        return _from_facts(name, facts, hyperparams, steps=steps, scores=scores, **more)
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{name}: run.json or its tracked copy is damaged ({error!r})") from None


def _from_facts(
    name: str, facts: dict[str, Any], hyperparams: Hyperparams, **more: Any
) -> Measured:
    seconds, budget = facts.get("wall_clock_seconds"), int(facts["n_timesteps"])
    if not facts["eval_protocol"].get("full_games", True):
        raise ValueError("not evaluated on full games")
    if not 0 < budget < LARGEST or not math.isfinite(seconds or 0):
        raise ValueError(f"{budget} steps in {seconds} s")
    engine, hardware = facts.get("engine") or {}, facts.get("hardware") or {}
    machine = str(hardware.get("gpu") or f"{hardware.get('cpus', '?')} CPUs")
    versions = facts.get("versions") or versions_of(facts.get("packages") or {})
    began = {"from": facts["parent"].get("recipe", "an agent")} if "parent" in facts else {}
    made_with = {"git_revision": facts.get("git_revision"), **versions, "machine": machine}
    return Measured(
        name=name,
        game=find_game(facts["env_id"]),
        recipe=facts["recipe"],
        algo=facts["algo"],
        seed=int(facts["seed"]),
        budget=budget * int(facts["frame_skip"]),
        frame_skip=int(facts["frame_skip"]),
        protocol={key: float(facts["eval_protocol"][key]) for key in PROTOCOL},
        engine={key: str(engine.get(key, default)) for key, default in ENGINE.items()} | began,
        hyperparams=hyperparams.model_dump(),
        variant=hyperparams.env_kwargs.variant,
        started=str(facts.get("started", "")),
        made_with={name: str(value) for name, value in made_with.items()},
        seconds=None if seconds is None else float(seconds),
        core_hours=core_hours(facts),
        **more,
    )
