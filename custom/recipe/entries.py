"""The entries of a recipe file: which serves a game, what it extends, which algorithm it is of."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from custom.recipe.games import V4_SUFFIX, Game, find_game
from custom.recipe.model import ALGORITHMS
from custom.recipe.yaml_text import read_yaml
from custom.system.errors import UserError

FOLDER = Path(__file__).resolve().parents[2] / "hyperparams"
OURS = " or ".join(ALGORITHMS)
ZOOS = {"dqn", "qrdqn", "a2c", "ars", "crossq", "ddpg", "her", "ppo", "sac", "td3", "tqc", "trpo"}


def recipe_names() -> list[str]:
    """Names of the recipes of this project."""
    return sorted(path.stem for path in FOLDER.glob("*.yml"))


def recipe_name(text: str) -> str:
    """The name under which runs of a recipe lie: its file's, without the ending."""
    return re.sub(r"\.ya?ml$", "", Path(text).name)


def find_recipe(text: str) -> Path:
    """The file of a recipe.

    :raises UserError: there is none
    """
    names, path = recipe_names(), Path(text)
    if text in names:
        return FOLDER / f"{text}.yml"
    if path.suffix not in (".yml", ".yaml"):
        close = difflib.get_close_matches(text, names, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        known = f"write one of {', '.join(names)}, or the path of a .yml file"
        raise UserError(f"RECIPE {text!r} is unknown: {hint}{known}")
    if not path.is_file():
        raise UserError(f"RECIPE {text!r}: there is no such file")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem):
        raise UserError(f"RECIPE {text!r}: rename the file to letters, digits, '-', '_', '.'")
    return path


def read_entry(file: Path, game: Game) -> tuple[str, str, dict[str, Any]]:
    """Key, algorithm and values of a game's entry, filled from the recipe that it extends.

    :raises UserError: the file cannot be read
    :raises ValueError: it has no such entry, or its algorithm is in doubt
    """
    *parents, file = reversed(sources(file))
    entries, values = _read(file), dict[str, Any]()
    entries.pop("extends", None)
    algo = "qrdqn" if re.match(r"qrdqn(-|$)", file.stem) else "dqn"
    keys = _keys(entries, game)
    for parent in parents:
        _, algo, values = read_entry(parent, game)
    for key in keys if parents else keys[-1:]:  # without `extends` one entry is taken whole
        if not isinstance(entries[key], dict):
            raise ValueError(f"{key}: has no values; write 'key: value' lines below it")
        values |= entries[key]
    named = values.pop("algo", None)
    if named is None:
        words = {w.rstrip("0123456789") for w in re.split("[^a-z0-9]+", file.stem.lower())}
        for other in words & ZOOS - {algo}:
            raise ValueError(
                f"{key}: the file's name says {other}; here {OURS} is trained: write algo"
            )
    elif named not in list(ALGORITHMS):
        raise ValueError(f"{key}: algo is {named!r}; write {OURS}")
    return key, named or algo, values


def sources(file: Path) -> list[Path]:
    """The files that make a recipe: its own, and the one that it extends.

    That is the recipe of the name beside it, or else one of this project's.

    :raises ValueError: there is none of the name, or it extends another one itself
    """
    entries = _read(file)
    if "extends" not in entries:
        return [file]
    name = str(entries["extends"])
    beside = file.parent / f"{name}.yml"
    is_other = beside.is_file() and not beside.samefile(file)
    parent = beside if is_other else FOLDER / f"{name}.yml"
    if not re.fullmatch(r"[\w.-]+", name) or not parent.is_file():
        names = ", ".join(recipe_names())
        raise ValueError(f"extends is {name!r}; write the name of a recipe, one of {names}")
    if "extends" in _read(parent):
        raise ValueError(f"extends {name}, which extends another recipe; extend that one")
    return [file, parent]


def _keys(entries: dict[str, Any], game: Game) -> list[str]:
    """Keys of the entries that serve a game, the most special one last."""
    named: dict[str, str] = {}
    for key in entries:
        with suppress(UserError):  # no game
            named.setdefault(find_game(key).env_id, key)
    v4 = f"{game.name}{V4_SUFFIX}"
    special = [named[name] for name in dict.fromkeys((v4, game.env_id)) if name in named]
    others = [] if special else entries.keys() - {"atari", *named.values()}
    for key in difflib.get_close_matches(v4, others, n=1, cutoff=0.8):
        # It would silently be played with the values of `atari`.
        raise ValueError(f"{key} is no environment; did you mean {v4}?")
    keys = ["atari", *special] if "atari" in entries else special
    if not keys:
        there = ", ".join(list(entries)[:5])
        raise ValueError(f"no entry for {game.env_id}, but for {there}; write '{v4}:' or 'atari:'")
    return keys


def _read(file: Path) -> dict[str, Any]:
    content = read_yaml(file.read_bytes(), str(file))
    if not isinstance(content, dict) or not content:
        raise ValueError("holds no games; write an 'atari:' entry, as hyperparams/dqn.yml")
    if "policy" in content and "atari" not in content:
        raise ValueError(
            "holds the values of one run, not of games (a config.yml?); give the recipe.yml of the"
            " run folder, or write 'atari:' above the values"
        )
    return content
