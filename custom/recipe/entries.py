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
ZOO_ALGORITHMS = {"dqn", "qrdqn", "a2c", "ars", "crossq", "ddpg", "her", "ppo", "ppo_lstm", "sac"}
ZOO_ALGORITHMS |= {"td3", "tqc", "trpo"}


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
    names = recipe_names()
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


def read_entry(file: Path, game: Game) -> tuple[str, str, dict[str, Any]]:
    """Key, algorithm and values of a game's entry, filled from the recipe that it extends.

    :raises UserError: the file cannot be read
    :raises ValueError: it has no such entry, or its algorithm is in doubt
    """
    entries = _read(file)
    if "extends" not in entries:
        key = _keys(entries, game)[-1]
        values = _values(entries, key)
        return key, _algorithm(file, key, values.pop("algo", None)), values
    parent_file = _parent(file, entries.pop("extends"))
    parent = _read(parent_file)
    if "extends" in parent:
        name = parent_file.stem
        raise ValueError(f"extends {name}, which extends another recipe; extend that one")
    values = _values(parent, _keys(parent, game)[-1])
    algo = _algorithm(parent_file, "atari", values.pop("algo", None))
    key, named = "atari", None
    for key in _keys(entries, game):
        values |= _values(entries, key)
        named = values.pop("algo", named)
    if named is None and _zoo_name(file) not in (None, algo):
        raise ValueError(f"extends {parent_file.stem}, which is of {algo}; write algo: ...")
    return key, algo if named is None else _algorithm(file, key, named), values


def _parent(file: Path, name: Any) -> Path:
    """The recipe of that name beside a file, or else one of this project's."""
    stem = str(name) if re.fullmatch(r"[\w.-]{1,100}", str(name)) else ""
    beside = file.parent / f"{stem}.yml"
    is_other = beside.is_file() and not beside.samefile(file)
    parent = beside if is_other else FOLDER / f"{stem}.yml"
    if not parent.is_file():
        names = ", ".join(recipe_names())
        raise ValueError(f"extends is {name!r}; write the name of a recipe, one of {names}")
    return parent


def sources(file: Path) -> list[Path]:
    """The files that make a recipe: its own, and the one that it extends."""
    entries = _read(file)
    return [file, _parent(file, entries["extends"])] if "extends" in entries else [file]


def _values(entries: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(entries[key], dict):
        raise ValueError(f"{key}: has no values; write 'key: value' lines below it")
    return dict(entries[key])


def _algorithm(file: Path, key: str, named: Any) -> str:
    """What the entry names, or the zoo's naming: the file's name starts with the algorithm's.

    :raises ValueError: not one of ours, or the name leaves a doubt
    """
    ours = " or ".join(ALGORITHMS)
    if named is not None:
        if not isinstance(named, str) or named not in ALGORITHMS:
            raise ValueError(f"{key}: algo is {named!r}; write {ours}")
        return named
    if re.match(r"qrdqn(-|$)", file.stem):
        return "qrdqn"
    if (name := _zoo_name(file)) not in (None, "dqn"):
        trained = "" if name in ALGORITHMS else f", and this project trains {ours}"
        raise ValueError(f"{key}: the file's name says {name}{trained}; write algo: {ours}")
    return "dqn"


def _zoo_name(file: Path) -> str | None:
    """The algorithm of the zoo that a file's name holds, another one rather than dqn."""
    words = (word.rstrip("0123456789") for word in re.split("[^a-z0-9]+", file.stem.lower()))
    names = [word for word in words if word in ZOO_ALGORITHMS]
    return min(names, key=lambda name: name == "dqn", default=None)


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
    try:
        content = read_yaml(file.read_bytes(), str(file))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    if not isinstance(content, dict) or not content:
        raise ValueError("holds no games; write an 'atari:' entry, as hyperparams/dqn.yml")
    if "policy" in content and "atari" not in content:
        raise ValueError(
            "holds the values of one run, not of games (a config.yml?); give the recipe.yml of the"
            " run folder, or write 'atari:' above the values"
        )
    return content
