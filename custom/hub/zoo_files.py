"""The zoo's files beside an agent, ``config.yml`` and ``args.yml``: read as data, and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from custom.recipe.check import check
from custom.recipe.classes import resolve
from custom.recipe.games import Game
from custom.recipe.model import Hyperparams
from custom.recipe.recipe import Recipe
from custom.recipe.yaml_text import read_yaml
from custom.system.errors import UserError


def recipe_of(files: dict[str, bytes], algo: str, game: Game, name: str) -> bytes:
    """The recipe of an agent, checked: this project's own, or what the zoo's ``config.yml`` says.

    :param files: of the repository, by name
    :param name: of the recipe
    :return: a ``recipe.yml``
    :raises UserError: there is none, or anything wrong in it
    """
    _check_environment(files, game)
    if "recipe.yml" in files:
        _check_own(files["recipe.yml"], algo, game)
        return files["recipe.yml"]
    if "config.yml" not in files:
        raise UserError("there is no config.yml or recipe.yml to build its network from")
    content = read_yaml(files["config.yml"], "config.yml")
    try:
        values = _checked(content, algo)
    except ValueError as error:
        raise UserError(f"config.yml: {error}") from None
    return Recipe(name, algo, Path("config.yml"), values).to_yaml(game.env_id).encode()


def _check_own(content: bytes, algo: str, game: Game) -> None:
    entries = read_yaml(content, "recipe.yml")
    entry = entries.get(game.env_id) if isinstance(entries, dict) else None
    if not isinstance(entry, dict):
        raise UserError(f"recipe.yml: has no entry for {game.env_id}")
    values = dict(entry)
    try:
        named = values.pop("algo", "dqn")
        if named != algo:
            raise ValueError(f"is of {named!r}, and the agent of {algo}")
        _checked(values, algo)
    except ValueError as error:
        raise UserError(f"recipe.yml: {error}") from None


def _checked(content: Any, algo: str) -> Hyperparams:
    """The values of a ``config.yml`` or of a recipe's entry, with classes that are there.

    :raises ValueError: all that is wrong, a line each
    """
    if not isinstance(content, dict):
        raise ValueError("holds no hyperparameters")
    values = check(content, algo)
    resolve(values)
    return values


def _check_environment(files: dict[str, bytes], game: Game) -> None:
    """Refuse an agent of another game than the one of this name here."""
    if "env_kwargs.yml" in files:
        _check_arguments(
            "env_kwargs.yml", read_yaml(files["env_kwargs.yml"], "env_kwargs.yml"), game
        )
    try:
        said = read_yaml(files.get("args.yml", b""), "args.yml")
    except UserError:  # more than plain data: nothing of it is used
        return
    if not isinstance(said, dict):
        return
    if said.get("env", game.env_id) != game.env_id:
        raise UserError(f"args.yml: the agent's game is {said['env']!r}, not {game.env_id}")
    if said.get("env_kwargs"):
        _check_arguments("args.yml", said["env_kwargs"], game)


def _check_arguments(file: str, found: Any, game: Game) -> None:
    found = found or {}
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds no named values")
    arguments = {key: value for key, value in found.items() if key != "render_mode"}
    if arguments != game.env_kwargs:
        raise UserError(
            f"{file}: the agent's game was made with {arguments}, and is made here with"
            f" {game.env_kwargs}"
        )
