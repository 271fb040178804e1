"""What is compared of a run, wherever it was read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom.errors import UserError
from custom.provenance import versions_of
from custom.recipe.games import Game, find_game

FloatArray = npt.NDArray[np.float64]
PROTOCOL = ("epsilon", "episodes", "noop_max", "repeat_action_probability", "max_frames")
LARGEST = 1e12  # nobody scores or trains as much
ENGINE = {"env": "sb3", "precision": "float32"}  # may change what is learnt; env: of older runs


@dataclass(frozen=True, eq=False)
class Measured:
    """A run that was trained to its end.

    :param name: what it is called in tables: its folder, or its address on W&B
    :param budget: of the training, in frames
    :param protocol: of its evaluations, the values that `PROTOCOL` names
    :param engine: what the engine had of `ENGINE` other than the usual
    :param steps: (N,), of its evaluations
    :param scores: (N, games), raw points
    :param started: when, as ISO 8601 writes it: of two runs with one seed the later counts
    :param made_with: revision, versions and machine, which may differ within a column
    :param seconds: the training took, None where nobody knows
    :param video: of the agent; a path that is not absolute begins at the comparison's folder
    :param baselines: what `make baselines` measured for the game and recipe
    """

    name: str
    game: Game
    recipe: str
    algo: str
    seed: int
    budget: int
    frame_skip: int
    protocol: dict[str, float]
    engine: dict[str, Any]
    hyperparams: dict[str, Any]
    steps: FloatArray
    scores: FloatArray
    started: str = ""
    made_with: dict[str, str] = field(default_factory=dict)
    seconds: float | None = None
    video: Path | None = None
    baselines: dict[str, Any] | None = None

    @property
    def hardware(self) -> str:
        """On which machine it was trained."""
        return self.made_with.get("machine", "unknown")

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
    hyperparams: dict[str, Any],
    steps: FloatArray,
    scores: FloatArray,
    **found: Any,
) -> Measured:
    """A run by what its run.json says and its evaluations.

    :param found: video and baselines
    :raises UserError: it is not to be compared: not finished, not evaluated, or damaged
    """
    if facts.get("state") != "finished":
        raise UserError(f"{name}: {facts.get('state')}, not finished")
    if "eval_protocol" not in facts:
        raise UserError(f"{name}: nothing says how it was evaluated during its training")
    if not scores.size:
        raise UserError(f"{name}: has no evaluation during its training")
    numbers = np.array([*steps, *scores.flat])
    if not ((np.abs(numbers) < LARGEST).all() and (np.diff(steps, prepend=0) > 0).all()):
        raise UserError(f"{name}: its evaluations have numbers that are not finite, or no order")
    try:
        return _of_facts(name, facts, hyperparams=hyperparams, steps=steps, scores=scores, **found)
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{name}: what is known of it is damaged ({error!r})") from None


def _of_facts(name: str, facts: dict[str, Any], **found: Any) -> Measured:
    seconds, budget = facts.get("wall_clock_seconds"), int(facts["n_timesteps"])
    if not facts["eval_protocol"].get("full_games", True):
        raise ValueError("not evaluated on full games")
    if not 0 < budget < LARGEST or not math.isfinite(seconds or 0):
        raise ValueError(f"{budget} steps in {seconds} s")
    engine, hardware = facts.get("engine") or {}, facts.get("hardware") or {}
    machine = str(hardware.get("gpu") or f"{hardware.get('cpus', '?')} CPUs")
    versions = facts.get("versions") or versions_of(facts.get("packages") or {})
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
        engine={k: engine[k] for k, usual in ENGINE.items() if engine.get(k, usual) != usual},
        started=str(facts.get("started", "")),
        made_with={name: str(value) for name, value in made_with.items()},
        seconds=None if seconds is None else float(seconds),
        **found,
    )
