"""Files beside an agent that the zoo's commands read: ``config.yml`` and ``args.yml``."""

from __future__ import annotations

import shlex
import sys
from collections import OrderedDict
from typing import Any

import yaml

from custom.runs.folder import Run


def write_zoo_files(run: Run) -> None:
    """Write them and the command where the zoo looks for them."""
    folder = run.path / run.game.folder_name
    folder.mkdir()
    (folder / "config.yml").write_text(config_yml(run))
    (folder / "args.yml").write_text(args_yml(run))
    (folder / "command.txt").write_text(shlex.join(sys.orig_argv))


def config_yml(run: Run) -> str:
    """A run's recipe as the zoo writes it."""
    return _to_yaml(run.hyperparams.given)


def args_yml(run: Run) -> str:
    """The arguments of a run that the zoo's commands read, without paths of this machine."""
    return _to_yaml(
        {
            "algo": run.facts["algo"],
            "conf_file": "recipe.yml",
            "env": run.game.env_id,
            "env_kwargs": run.env_kwargs or None,
            "n_timesteps": run.hyperparams.n_timesteps,
            "seed": run.facts["seed"],
        }
    )


def _to_yaml(values: dict[str, Any]) -> str:
    return yaml.dump(OrderedDict(sorted(values.items())))
