"""Scores without learning: random actions, and each single action all the time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from custom.env.games import make_games
from custom.evaluation.protocol import Act, Protocol
from custom.recipe.games import Game
from custom.recipe.model import Hyperparams
from custom.runs.folder import Run
from custom.system.errors import UserError
from custom.system.files import atomic_file


def action_names(game: Game, hyperparams: Hyperparams) -> list[str]:
    """A recipe's actions in the order of their numbers, e.g. ``["NOOP", "FIRE", …]``."""
    env = make_games(game, hyperparams, n_envs=1, seed=0)
    names: list[str] = env.env_method("get_action_meanings")[0]
    env.close()
    return names


def random_actions(n_actions: int, seed: int) -> Act:
    """Every action with the same probability."""
    rng = np.random.default_rng(seed)
    return lambda obs: rng.integers(n_actions, size=len(obs))


def constant_action(action: int) -> Act:
    """The same action all the time."""
    return lambda obs: np.full(len(obs), action)


def measure_baselines(
    game: Game,
    hyperparams: Hyperparams,
    protocol: Protocol,
    tell: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:
    """Play random and every constant action by the protocol.

    :param tell: called with a name and its summary after each
    :return: what `read_baselines` reads
    """
    names = action_names(game, hyperparams)
    players = {"random": random_actions(len(names), protocol.seed)}
    players |= {name: constant_action(i) for i, name in enumerate(names)}
    results: dict[str, Any] = {}
    for name, act in players.items():
        results[name] = protocol.play(act, game, hyperparams).summary()
        tell(name, results[name])
    return {
        "game": game.name,
        "env_id": game.env_id,
        "variant": hyperparams.env_kwargs.variant,
        "protocol": replace(protocol, epsilon=None).describe(game, hyperparams),
        "best_action": max(names, key=lambda name: results[name]["mean"]),
        "results": results,
    }


def baselines_file(logs: Path, recipe: str, game: Game) -> Path:
    """The file for the baselines of a game; they depend on the recipe's wrapper."""
    return logs / recipe / "baselines" / f"{game.folder_name}.json"


def baselines_of(run: Run) -> dict[str, Any] | None:
    """The measured baselines of a run's game and recipe.

    None if there are none, or if the run folder was moved away from them.
    """
    if len(run.path.parents) < 3:
        return None
    file = baselines_file(run.path.parents[2], run.facts["recipe"], run.game)
    return read_baselines(file, run.hyperparams)


def write_baselines(file: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure baselines and write them.

    :raises UserError: the folder cannot be written; raised before anything is played
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file, "w") as opened:
            content = measure()
            json.dump(content, opened, indent=2)
        return content
    except OSError as error:
        raise UserError(f"LOGS {file.parent}: cannot be written ({error.strerror})") from None


def read_baselines(file: Path, hyperparams: Hyperparams) -> dict[str, Any] | None:
    """Measured baselines, or None without any of the recipe's variant of the game."""
    if not file.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        for name in ("random", content["best_action"]):
            float(content["results"][name]["mean"])
        int(content["protocol"]["episodes"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: is damaged ({error}); delete it and run make baselines") from None
    return content if content.get("variant", {}) == hyperparams.env_kwargs.variant else None
