"""The zoo's files beside an agent, ``config.yml`` and ``args.yml``: written, and read as data."""

from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from custom.recipe.check import check
from custom.recipe.classes import resolve
from custom.recipe.games import Game
from custom.recipe.model import ZOO_WRAPPER
from custom.recipe.recipe import Recipe
from custom.recipe.yaml_text import read_yaml
from custom.runs.folder import Run
from custom.system.errors import UserError

USUAL = {"env_wrapper": ZOO_WRAPPER, "frame_stack": 4, "n_timesteps": 1, "policy": "CnnPolicy"}


def write_zoo_files(run: Run, folder: Path) -> None:
    """Write a run's recipe and arguments as the zoo does, without paths of this machine."""
    arguments = {
        "algo": run.facts["algo"],
        "conf_file": "recipe.yml",
        "env": run.game.env_id,
        "env_kwargs": run.env_kwargs or None,
        "n_timesteps": run.hyperparams.n_timesteps,
        "seed": run.facts["seed"],
    }
    folder.mkdir(exist_ok=True)
    for name, values in (("config.yml", run.hyperparams.given), ("args.yml", arguments)):
        (folder / name).write_text(yaml.dump(OrderedDict(sorted(values.items()))))


def recipe_of(files: dict[str, bytes], algo: str, game: Game, name: str) -> bytes:
    """The recipe of an agent, checked: this project's own, or what the zoo's ``config.yml`` says.

    Without either, the zoo's wrappers and network, to which the agent's tensors must fit.

    :param files: of the repository, by name
    :param name: of the recipe
    :return: a ``recipe.yml``
    :raises UserError: there is none, or anything wrong in it
    """
    file = "recipe.yml" if "recipe.yml" in files else "config.yml"
    content = read_yaml(files[file], file) if file in files else dict(USUAL)
    try:
        if file == "recipe.yml" and isinstance(content, dict):
            content = content.get(game.env_id)
        if not isinstance(content, dict):
            raise ValueError(f"holds no hyperparameters of {game.env_id}")
        if content.pop("algo", algo) != algo:
            raise ValueError(f"is of another algorithm than the agent, which is of {algo}")
        values = check(content, algo)
        resolve(values)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
    _check_environment(files, game, game.env_kwargs | values.env_kwargs.given)
    if file == "recipe.yml":
        return files[file]
    return Recipe(name, algo, Path(file), values).to_yaml(game.env_id).encode()


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
    stated = [arguments["env_kwargs"]] if "env_kwargs" in arguments else []
    if "env_kwargs.yml" in files:
        stated.append(read_yaml(files["env_kwargs.yml"], "env_kwargs.yml"))
    if env_kwargs and not stated:
        said = f"its game is made here with {env_kwargs}"
        raise UserError(f"{said}; neither args.yml nor env_kwargs.yml says how it was made")
    for kwargs in stated:
        made_with = kwargs or {}
        if isinstance(made_with, dict):
            made_with.pop("render_mode", None)
        if made_with != env_kwargs:
            here = f"{game.env_id} is made here with {env_kwargs}"
            raise UserError(f"the agent's game was made with {made_with}; {here}")
