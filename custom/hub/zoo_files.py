"""The zoo's files beside an agent, ``config.yml`` and ``args.yml``: read as data."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from custom.recipe.check import check
from custom.recipe.classes import resolve
from custom.recipe.games import Game
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
    file = next((name for name in ("recipe.yml", "config.yml") if name in files), None)
    if file is None:
        raise UserError("there is no config.yml or recipe.yml to build its network from")
    content = read_yaml(files[file], file)
    try:
        entry = _entry(content, algo, game) if file == "recipe.yml" else content
        if not isinstance(entry, dict):
            raise ValueError("holds no hyperparameters")
        values = check(entry, algo)
        resolve(values)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
    _check_environment(files, game, game.env_kwargs | values.env_kwargs.given)
    if file == "recipe.yml":
        return files[file]
    return Recipe(name, algo, Path(file), values).to_yaml(game.env_id).encode()


def _entry(content: Any, algo: str, game: Game) -> dict[str, Any]:
    """The hyperparameters of a game in a ``recipe.yml``."""
    entry = content.get(game.env_id) if isinstance(content, dict) else None
    if not isinstance(entry, dict):
        raise ValueError(f"has no entry for {game.env_id}")
    values = dict(entry)
    named = values.pop("algo", "dqn")
    if named != algo:
        raise ValueError(f"is of {named!r}, and the agent of {algo}")
    return values


def _check_environment(files: dict[str, bytes], game: Game, env_kwargs: dict[str, Any]) -> None:
    """Refuse an agent that played another game than is made here.

    :param env_kwargs: arguments of the game that is made here
    """
    arguments: Any = None
    with suppress(UserError):  # more than plain data: nothing of it is used
        arguments = read_yaml(files.get("args.yml", b""), "args.yml")
    arguments = arguments if isinstance(arguments, dict) else {}
    if arguments.get("env", game.env_id) != game.env_id:
        raise UserError(f"args.yml: the agent's game is {arguments['env']!r}, not {game.env_id}")
    stated = {"args.yml": arguments["env_kwargs"]} if "env_kwargs" in arguments else {}
    if "env_kwargs.yml" in files:
        stated["env_kwargs.yml"] = read_yaml(files["env_kwargs.yml"], "env_kwargs.yml")
    if env_kwargs and not stated:
        raise UserError(f"nothing says how its game was made; here it is made with {env_kwargs}")
    for file, kwargs in stated.items():
        made_with = kwargs or {}
        if isinstance(made_with, dict):
            made_with = {key: made_with[key] for key in made_with if key != "render_mode"}
        if made_with != env_kwargs:
            raise UserError(
                f"{file}: the agent's game was made with {made_with}; {game.env_id} is made here"
                f" with {env_kwargs}"
            )
