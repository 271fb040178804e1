"""`make pull`: an agent of the Hub as a run folder.

The agent and its recipe are fetched, each within a limit.
"""

from pathlib import Path

from huggingface_hub import HfApi

from custom.hub.client import hub_errors
from custom.hub.foreign import RECIPE_FILES, Foreign, agent_among, bring_in, workplace
from custom.recipe.yaml_text import MAX_BYTES
from custom.runs.agents import MOST_BYTES
from custom.runs.folder import Run
from custom.system.errors import UserError


def pull(api: HfApi, repo: str, revision: str, logs: Path) -> Run:
    """Fetch the one agent of a repository and make a run folder of it, or leave nothing behind.

    :param repo: ``user/name``
    :param revision: branch, tag or commit; empty: main
    :raises UserError: it cannot be fetched, or there is none or several, or it is refused
    """
    if repo.count("/") != 1:
        raise UserError(f"REPO is {repo!r}; write REPO=user/name, or the path of a folder")
    with hub_errors(f"{repo}, revision {revision}" if revision else repo):
        info = api.model_info(repo, revision=revision or None, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    agent, algo, game = agent_among(repo, list(sizes))
    limits = {agent: MOST_BYTES, **dict.fromkeys(RECIPE_FILES, MAX_BYTES)}
    names = sorted(limits.keys() & sizes.keys())
    for name in names:
        size = sizes[name]
        if size is None or size > limits[name]:
            raise UserError(f"{repo}: {name} is of {size} bytes; allowed: {limits[name]}")
    with workplace(logs) as folder:
        for name in names:
            with hub_errors(f"{name} of {repo}"):
                api.hf_hub_download(repo, name, revision=info.sha, local_dir=folder)
        files = {name: folder / name for name in names if name != agent}
        facts = {"state": "pulled", "pulled": {"repo": repo, "revision": info.sha}}
        recipe = repo.replace("/", "--")
        foreign = Foreign(repo, recipe, algo, game, folder / agent, files, facts=facts)
        return bring_in(foreign, logs)
