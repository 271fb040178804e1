"""Which files of a repository of the Hub are fetched, how large they may be, and their coming."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi

from custom.errors import UserError
from custom.games import Game, find_game
from custom.hub.client import hub_errors
from custom.recipe_schema import ALGORITHMS
from custom.safe_agents import MOST_BYTES

METRICS = "train_eval_metrics.zip"
LIMITS = {  # bytes at most of each file that is fetched
    "args.yml": 2**16,
    "config.yml": 2**16,
    "env_kwargs.yml": 2**16,
    "evaluation.json": 2**22,
    "learning_curve.png": 2**24,
    "recipe.yml": 2**16,
    "replay.mp4": 2**27,
    "run.json": 2**20,
    METRICS: 2**26,
}


@dataclass(frozen=True)
class Source:
    """An agent in a repository, at one commit.

    :param agent: name of its file
    :param sizes: bytes of each file that is fetched
    """

    repo: str
    revision: str
    algo: str
    game: Game
    agent: str
    sizes: dict[str, int]

    @property
    def recipe(self) -> str:
        """Name of the folder of its runs."""
        return self.repo.replace("/", "--")


def find_source(api: HfApi, repo: str, revision: str) -> Source:
    """The one agent of a repository that this project can play, at the commit that is there now.

    :param repo: ``user/name``
    :param revision: branch, tag or commit; empty: main
    :raises UserError: the repository cannot be seen, or there is none in it, or more than one
    """
    if repo.count("/") != 1:
        raise UserError(f"REPO is {repo!r}; write REPO=user/name")
    with hub_errors(f"{repo}, revision {revision}" if revision else repo):
        info = api.model_info(repo, revision=revision or None, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    name, algo, game = _agent(repo, list(sizes))
    limits, kept = {name: MOST_BYTES, **LIMITS}, {}
    for file in sorted(limits.keys() & sizes.keys()):
        size = sizes[file]
        if size is None or size > limits[file]:
            shown = "of a size that the Hub does not tell" if size is None else f"{size:,} bytes"
            raise UserError(f"{repo}: {file} is {shown}, of {limits[file]:,} bytes allowed")
        kept[file] = size
    if not re.fullmatch(r"[0-9a-f]{40}", info.sha or ""):
        raise UserError(f"{repo}: the Hub names no commit")
    return Source(repo, str(info.sha), algo, game, name, kept)


def _agent(repo: str, names: list[str]) -> tuple[str, str, Game]:
    """File, algorithm and game of the agent among some files."""
    found = [match for name in names if (match := re.fullmatch(r"([a-z0-9_]+)-(.+)\.zip", name))]
    agents = [match for match in found if match[1] in ALGORITHMS]
    if len(agents) != 1:
        shown = ", ".join(match[0] for match in found) or "none"
        wanted = " or ".join(f"{algo}-ENVIRONMENT.zip" for algo in ALGORITHMS)
        raise UserError(f"{repo}: needs one agent, {wanted}; it has: {shown}")
    name, algo, text = agents[0].group(0, 1, 2)
    try:
        game = find_game(re.sub(r"^ALE-", "ALE/", text))
    except UserError as error:
        raise UserError(f"{repo}: {name}: {error}") from None
    if game.folder_name != text:
        raise UserError(f"{repo}: {name} is not named after an environment, as {game.folder_name}")
    return name, algo, game


def download(api: HfApi, source: Source, folder: Path) -> dict[str, bytes]:
    """Fetch what is allowed into a folder of our own.

    :return: all but the agent, read
    :raises UserError: the Hub does not give it, or gives something else than it described
    """
    files = {}
    for name, size in source.sizes.items():
        what, path = f"{name} of {source.repo}", folder / name
        with hub_errors(what):
            api.hf_hub_download(source.repo, name, revision=source.revision, local_dir=folder)
        if path.is_symlink() or path.stat().st_size != size:
            raise UserError(f"{what}: is not the file that the Hub described; pull it again")
        if name != source.agent:
            files[name] = path.read_bytes()
    return files
