"""Runs to compare, from a project on W&B that trainings with TRACK= filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from custom.baselines import baselines_file, read_baselines
from custom.compare.from_logs import gather
from custom.compare.measured import FloatArray, Measured, measured
from custom.compare.output import FILMS
from custom.compare.page import LARGEST_VIDEO
from custom.console import say
from custom.errors import UserError
from custom.recipe.games import Game
from custom.tracking import client
from custom.tracking.callback import AT_THE_END

if TYPE_CHECKING:
    from wandb.apis.public import Run


def from_wandb(
    project: str, games: list[Game], recipes: list[str], logs: Path, out: Path
) -> tuple[list[Measured], list[str]]:
    """The runs of games and recipes in a project.

    :param project: ``entity/name``, or the name of one of one's own
    :param logs: where measured baselines are
    :param out: a folder that takes films, in `FILMS`
    :return: runs, those of a recipe `in_order`; and why others are left out, a line each
    :raises UserError: W&B does not answer, or a recipe has no run that can be compared
    """

    def find(name: str) -> Iterator[tuple[Run, Path]]:
        for game in games:
            for run in client.runs(project, {"env_id": game.env_id, "recipe": name}):
                yield run, baselines_file(logs, name, game)

    def read(found: tuple[Run, Path]) -> Measured:
        run, baselines = found
        return _read(run, read_baselines(baselines), out)

    with _asking(project):
        client.log_in()
        return gather(games, recipes, f"{project} on W&B", find, read)


@contextmanager
def _asking(project: str) -> Iterator[None]:
    """Whatever goes wrong between here and W&B, in one line."""
    try:
        yield
    except (UserError, OSError):  # of ours, or of a disk
        raise
    except client.RefusedError as error:  # nothing wrong with the project
        raise UserError(f"W&B: {error}") from None
    except Exception as error:  # the client raises what its libraries raise
        raise UserError(f"PROJECT {project}: cannot be read ({client.reason(error)})") from None


def _read(run: Run, baselines: dict[str, Any] | None, out: Path) -> Measured:
    name = "/".join(run.path)
    facts = dict(run.config)
    hyperparams = facts.pop("hyperparams", None)
    if not isinstance(hyperparams, dict):
        raise UserError(f"{name}: was not tracked by this project")
    known = {key: run.summary_metrics[key] for key in AT_THE_END if key in run.summary_metrics}
    facts |= {"state": run.state} | known
    steps, scores = _evaluations(name, run)
    found = measured(name, facts, hyperparams, steps, scores, baselines=baselines)
    return replace(found, video=_film(run, out))


def _evaluations(name: str, run: Run) -> tuple[FloatArray, FloatArray]:
    """Steps, (N,), and scores, (N, games); of an evaluation that is there twice, the later one."""
    rows = run.scan_history(keys=["steps", "eval/scores"], use_cache=False)
    scores = {int(row["steps"]): row["eval/scores"] for row in rows}
    steps = sorted(scores)
    try:
        found = np.array([scores[step] for step in steps], dtype=float)
        if found.size and found.ndim != 2:
            raise ValueError(f"scores of shape {found.shape}")
    except (ValueError, TypeError) as error:
        raise UserError(f"{name}: its evaluations cannot be read ({error})") from None
    return np.array(steps, dtype=float), found


def _film(run: Run, out: Path) -> Path | None:
    """Fetch the last film of a run, to its place below `out`."""
    shown = run.summary_metrics.get("eval/video")
    if not isinstance(shown, dict):
        return None
    film = Path(FILMS) / f"{quote(run.id, safe='')}.mp4"
    try:
        file = run.file(str(shown.get("path")))
        if file.size > LARGEST_VIDEO:
            return None
        (out / FILMS).mkdir(exist_ok=True)
        with TemporaryDirectory(dir=out) as folder, file.download(root=folder) as opened:
            Path(opened.name).replace(out / film)
        return film
    except Exception as error:  # a film is not worth a lost comparison
        say(f"{'/'.join(run.path)}: no film ({client.reason(error)})")
        return None
