"""Scores without learning: random actions, and each single action all the time."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom.env.games import make_games
from custom.evaluation.protocol import N_ENVS, Act, Protocol
from custom.evaluation.scores import RANDOM, Level, published
from custom.recipe.games import Game
from custom.recipe.model import Hyperparams
from custom.runs.folder import Run
from custom.system.errors import UserError
from custom.system.files import atomic_file

HELD_OUT_STATES = 512


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


def held_out_states(game: Game, hyperparams: Hyperparams, seed: int) -> npt.NDArray[np.uint8]:
    """A fixed set of states from random play (Mnih et al. 2015, Extended Data Fig. 2).

    Their mean largest action value is smoother than scores. The states depend on the arguments
    only, not on when they are collected.

    :param seed: of the games and of the random actions
    :return: (N, frame_stack * channels, height, width)
    """
    env = make_games(game, hyperparams, N_ENVS, seed)
    act = random_actions(int(env.action_space.n), seed)  # type: ignore[attr-defined]
    batches: list[npt.NDArray[np.uint8]] = []
    obs = env.reset()
    while sum(map(len, batches)) < HELD_OUT_STATES:
        for _ in range(4):  # consecutive states are nearly equal
            obs, *_ = env.step(act(obs))  # type: ignore[arg-type]
        batches.append(np.array(obs))
    env.close()
    return np.concatenate(batches)[:HELD_OUT_STATES]


def measure_baselines(
    file: Path,
    game: Game,
    hyperparams: Hyperparams,
    protocol: Protocol,
    tell: Callable[[str, dict[str, Any]], None],
) -> str:
    """Play random and every constant action by the protocol, and write what `baselines` reads.

    :param tell: called with a name and its summary after each
    :return: the best single action, if one is better than the others
    :raises OSError: the file cannot be written; raised before anything is played
    """
    names = action_names(game, hyperparams)
    players = {"random": random_actions(len(names), protocol.seed)}
    players |= {name: constant_action(i) for i, name in enumerate(names)}
    results: dict[str, Any] = {}
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file, "w") as opened:
        for name, act in players.items():
            results[name] = protocol.play(act, game, hyperparams).summary()
            tell(name, results[name])
        best = max(names, key=lambda name: results[name]["mean"])
        content = {
            "env_id": game.env_id,
            "variant": hyperparams.env_kwargs.variant,
            "protocol": replace(protocol, epsilon=None).describe(game, hyperparams),
            "best_action": best,
            "results": results,
        }
        json.dump(content, opened, indent=2)
    is_any_better = len({results[name]["mean"] for name in names}) > 1
    return best if is_any_better else "none, all score the same"


def baselines_file(logs: Path, recipe: str, game: Game) -> Path:
    """The file for the baselines of a game; they depend on the recipe's wrapper."""
    return logs / recipe / "baselines" / f"{game.folder_name}.json"


def baselines(file: Path, hyperparams: Hyperparams) -> list[Level]:
    """Random play and the best single action as measured; none without measurements of this game.

    :raises UserError: the file is damaged
    """
    if not file.is_file():
        return []
    try:
        content = json.loads(file.read_text())
        best, results = content["best_action"], content["results"]
        source = f"measured here, {content['protocol']['episodes']} games"
        measured = [
            Level(RANDOM, float(results["random"]["mean"]), source),
            Level(f"only {best}", float(results[best]["mean"]), f"best single action, {source}"),
        ]
        if not all(math.isfinite(level.score) for level in measured):
            raise ValueError("a mean is not finite")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: is damaged ({error}); delete it and run make baselines") from None
    return measured if content.get("variant", {}) == hyperparams.env_kwargs.variant else []


def baselines_of(run: Run) -> list[Level]:
    """The measured baselines of a run's game and recipe, in the same folder of logs."""
    file = baselines_file(run.path.parents[2], run.facts["recipe"], run.game)
    return baselines(file, run.hyperparams)


def levels(game: Game, hyperparams: Hyperparams, measured: list[Level]) -> list[Level]:
    """What scores of a game are compared with: measured baselines, then published scores.

    Another variant of a game has no published scores.
    """
    known = [] if hyperparams.env_kwargs.variant else published(game.rom)
    return measured + [one for one in known if not measured or one.label != RANDOM]


def levels_of(run: Run) -> list[Level]:
    """`levels` of a run's game."""
    return levels(run.game, run.hyperparams, baselines_of(run))
