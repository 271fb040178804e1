"""The zoo's files beside an agent, ``config.yml`` and ``args.yml``: read as data, and written."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import yaml

from custom.errors import UserError
from custom.games import Game
from custom.recipe_schema import check_entry
from custom.recipe_values import RecipeError
from custom.recipes import Recipe
from custom.runs import Run
from custom.safe_yaml import literal, read_yaml

EVALUATED = ("policy_kwargs", "replay_buffer_kwargs")  # by the zoo, where they are texts
MUST_BE_EMPTY = {  # where there is anything in it, the agent plays with more than its network
    "callback": "names code",
    "env_kwargs": "changes the game",
    "monitor_kwargs": "changes what is measured",
    "normalize": "needs statistics, which come as a pickle",
    "vec_env_wrapper": "names code",
}
NOTHING: tuple[Any, ...] = (None, False, "", "False", "None", {}, [])


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
        values = check_entry(_converted(content), algo)
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
            raise RecipeError(f"is of {named!r}, and the agent of {algo}")
        check_entry(values, algo)
    except RecipeError as error:
        raise UserError(f"recipe.yml: {error}") from None


def _converted(content: Any) -> dict[str, Any]:
    """The entry of a recipe that a ``config.yml`` stands for."""
    if not isinstance(content, dict):
        raise RecipeError("holds no hyperparameters")
    entry = dict(content)
    for key, reason in MUST_BE_EMPTY.items():
        if entry.pop(key, None) not in NOTHING:
            raise RecipeError(f"{key} is {content[key]!r}, which {reason}")
    for key in set(EVALUATED) & set(entry):
        entry[key] = literal(key, entry[key] or {})
    if entry.get("optimize_memory_usage") is True:  # before SB3 1.6 nothing else was said of it
        entry.setdefault("replay_buffer_kwargs", {"handle_timeout_termination": False})
    return entry


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


def config_yml(run: Run) -> str:
    """A run's recipe as the zoo writes it."""
    return _written(run.hyperparams)


def args_yml(run: Run) -> str:
    """What the zoo's commands read of how a run was started, without places on this machine."""
    return _written(
        {
            "algo": run.facts["algo"],
            "conf_file": "recipe.yml",
            "env": run.game.env_id,
            "env_kwargs": dict(run.game.env_kwargs) or None,
            "n_timesteps": run.hyperparams["n_timesteps"],
            "seed": run.facts["seed"],
        }
    )


def _written(values: dict[str, Any]) -> str:
    return yaml.dump(OrderedDict(sorted(values.items())))
