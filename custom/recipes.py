"""Recipes: YAML files of hyperparameters, one entry a game, in the zoo's own format.

A file holds an `atari` entry for every game and, where a game differs, an entry under its
environment id. One entry is taken whole, as the zoo does; YAML's ``<<: *atari`` fills it.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import yaml
from rl_zoo3.utils import ALGOS

from custom.errors import UserError
from custom.games import V4_SUFFIX, Game
from custom.recipe_schema import ALGORITHMS, check_entry
from custom.recipe_values import RecipeError, one_of
from custom.safe_yaml import refuse_duplicates

FOLDER = Path(__file__).resolve().parents[1] / "hyperparams"
WARM_UP_SHARE = 10  # the warm-up takes a tenth of the budget at most


@dataclass(frozen=True)
class Recipe:
    """What is learnt and how, for one game.

    :param name: the file's name without its ending; also the folder of the runs
    :param algo: the algorithm's name in the zoo, e.g. ``dqn``
    :param file: where it was read
    :param hyperparams: checked values, with `n_timesteps` in steps
    :param notes: what was changed to fit the budget, a line each
    """

    name: str
    algo: str
    file: Path
    hyperparams: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def n_timesteps(self) -> int:
        """The run's budget in steps."""
        return int(self.hyperparams["n_timesteps"])

    @property
    def exploration_steps(self) -> int:
        """Steps until epsilon reaches its final value: a fraction of the budget, from step 0.

        Where it decays exponentially: until it is 0.01 above that value.
        """
        values = self.hyperparams
        first = float(values.get("exploration_initial_eps", 1.0))  # SB3's defaults
        above = first - float(values.get("exploration_final_eps", 0.05))
        if above <= 0:
            return 0
        if values.get("exploration_decay"):
            return max(round(math.log(above / 0.01) / float(values["exploration_decay"])), 0)
        return round(float(values.get("exploration_fraction", 0.1)) * self.n_timesteps)

    def with_budget(self, n_timesteps: int | None) -> Recipe:
        """The recipe for a run of so many steps (None: the recipe's own).

        A warm-up longer than a tenth of the budget would leave little to learn from: it is cut.
        Where a budget is given, the decay of epsilon lasts twice the warm-up at least, or it would
        be over before the agent that it is for begins to learn.
        """
        values = copy.deepcopy(self.hyperparams)
        if n_timesteps is not None:
            values["n_timesteps"] = n_timesteps
        budget, notes = values["n_timesteps"], []
        asked, longest = values.get("learning_starts", 100), budget // WARM_UP_SHARE  # SB3's 100
        if asked > longest:
            values["learning_starts"] = longest
            share = f"a tenth of the budget of {budget:,} steps"
            notes.append(f"learning_starts: {asked:,} shortened to {longest:,} steps, {share}")
        warm_up = min(asked, longest)
        before = Recipe(self.name, self.algo, self.file, values).exploration_steps
        falls = before > 0 and not values.get("exploration_decay")
        if n_timesteps is not None and falls and before < 2 * warm_up:
            values["exploration_fraction"] = 2 * warm_up / budget
            notes.append(f"exploration: {before:,} lengthened to {2 * warm_up:,} steps, twice that")
        return Recipe(self.name, self.algo, self.file, values, tuple(notes))

    def to_yaml(self, env_id: str) -> str:
        """The recipe as a file that can be given as RECIPE again."""
        header = f"# {self.name} as it ran. Unit: steps.\n"
        header += f"# Exploration ends after {self.exploration_steps:,} steps.\n"
        header += "".join(f"# {note}\n" for note in self.notes)
        algo = {} if self.algo == "dqn" else {"algo": self.algo}
        return header + yaml.safe_dump({env_id: {**algo, **self.hyperparams}}, sort_keys=True)


def load_recipe(text: str, game: Game) -> Recipe:
    """Read and check the entry of a recipe that serves a game.

    :param text: a name in hyperparams/, or the path of a YAML file
    :raises UserError: no such recipe, or anything wrong in it
    """
    file = _find(text)
    key, entry = _entry(file, game)
    try:
        algo = _algorithm(file, entry.pop("algo", None))
        return Recipe(recipe_name(str(file)), algo, file, check_entry(entry, algo))
    except RecipeError as error:
        raise UserError(f"{file}: {key}: {error}") from None


def _entry(file: Path, game: Game) -> tuple[str, dict[str, Any]]:
    """The key of a game's entry and its values.

    In a file that extends another one they lie over that one's for the game: first the child's
    `atari`, then its entry for the game. A value of null removes a key.
    """
    entries = _read(file)
    parent = entries.pop("extends", None)
    try:
        if parent is None:
            key = _entry_of(entries, game)
            return key, _values(entries, key)
        key, values = _extended(file, parent, game)
        for key in ("atari", f"{game.name}{V4_SUFFIX}", game.env_id):
            values |= _values(entries, key) if key in entries else {}
        return key, {name: value for name, value in values.items() if value is not None}
    except RecipeError as error:
        raise UserError(f"{file}: {error}") from None


def _extended(file: Path, parent: Any, game: Game) -> tuple[str, dict[str, Any]]:
    beside = file.parent / f"{parent}.yml"
    found = beside if beside.is_file() else FOLDER / f"{parent}.yml"
    if not isinstance(parent, str) or "/" in parent or not found.is_file():
        names = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yml")))
        raise RecipeError(f"extends is {parent!r}; write the name of a recipe, of {names}")
    entries = _read(found)
    if "extends" in entries:
        raise RecipeError(
            f"extends {parent}, which extends another one itself; that is one too many"
        )
    key = _entry_of(entries, game)
    return key, _values(entries, key)


def _values(entries: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(entries[key], dict):
        raise RecipeError(f"{key}: has no values; write 'key: value' lines below it")
    return dict(entries[key])


def recipe_name(text: str) -> str:
    """The name under which runs of a recipe lie: its file's, without the ending.

    A foreign file that is named as one of this project (the zoo's dqn.yml) gets a mark of its
    content, so that the runs of two recipes are never mixed.
    """
    path = Path(text)
    name = re.sub(r"\.ya?ml$", "", path.name)
    own = FOLDER / f"{name}.yml"
    if path.name == name or not own.is_file() or not path.is_file() or path.samefile(own):
        return name
    return f"{name}-{hashlib.sha256(path.read_bytes()).hexdigest()[:6]}"


def _find(text: str) -> Path:
    names = sorted(path.stem for path in FOLDER.glob("*.yml"))
    if text in names:
        return FOLDER / f"{text}.yml"
    path = Path(text)
    if path.suffix not in (".yml", ".yaml"):
        close = difflib.get_close_matches(text, names, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(
            f"RECIPE {text!r} is unknown: {hint}write one of {', '.join(names)},"
            " or the path of a .yml file"
        )
    if not path.is_file():
        raise UserError(f"RECIPE {text!r}: there is no such file")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem):
        raise UserError(f"RECIPE {text!r}: rename the file to letters, digits, '-', '_', '.'")
    return path


def _algorithm(file: Path, named: Any) -> str:
    """What the entry names, or the zoo's naming: the file's name starts with the algorithm's."""
    if named is not None:
        return str(one_of(*ALGORITHMS)("algo", named))
    prefix = file.stem.partition("-")[0]
    if prefix in ALGORITHMS:
        return prefix
    if prefix in ALGOS:
        raise RecipeError(f"is a recipe for {prefix}; this project trains {', '.join(ALGORITHMS)}")
    return "dqn"


def _entry_of(entries: dict[str, Any], game: Game) -> str:
    v4 = f"{game.name}{V4_SUFFIX}"
    ids = ["atari", *(name for name in gym.registry if name.endswith(V4_SUFFIX))]
    for key in map(str, entries):
        # A misspelt game would silently be played with the values of `atari`.
        close = difflib.get_close_matches(key, ids, n=1, cutoff=0.8)
        if close and key not in ids and key not in gym.registry:
            raise RecipeError(f"{key} is no environment; did you mean {close[0]}?")
    for key in (game.env_id, v4, "atari"):
        if key in entries:
            return key
    raise RecipeError(f"no entry for {game.env_id}; add one under '{v4}:' or 'atari:'")


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        if node is not None:
            refuse_duplicates(node, set())
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{file}: {place}{problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as YAML ({reason})") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file}: holds no games; write an 'atari:' entry, as hyperparams/dqn.yml")
    return content
