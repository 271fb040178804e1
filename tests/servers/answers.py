"""What a local Hub says of its models: their description, their files, and pages of lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.servers.store import Commit, File, Repository, Store

Query = dict[str, list[str]]
IDENTITY = {"_id", "id", "modelId"}
LISTED = IDENTITY | {  # what a list has of each model when nothing else is asked for
    *("private", "likes", "downloads", "tags", "pipeline_tag", "library_name", "createdAt")
}
FULL = {"author", "sha", "lastModified", "gated", "disabled", "siblings"}
LICENSES = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "gpl-3.0", "mit", "other")  # and more
OF_A_RESULT = ("task", "dataset", "metrics")
CARD_TAGS = {"library_name": "{}", "license": "license:{}"}  # of the card's fields


def card(content: str) -> dict[str, Any]:
    """The metadata at the head of a model card.

    :raises yaml.YAMLError: it is not YAML
    """
    head = re.match(r"---\r?\n(.*?)\r?\n---", content, re.DOTALL)
    data = yaml.safe_load(head.group(1)) if head else None
    return data if isinstance(data, dict) else {}


def faults(content: str) -> list[str]:
    """What the Hub finds wrong in a card's metadata."""
    try:
        data = card(content)
    except yaml.YAMLError as error:
        return [str(error)]
    found = []
    for i, model in enumerate(data.get("model-index") or []):
        found += [f"model-index[{i}].{key}" for key in ("name", "results") if key not in model]
        for j, result in enumerate(model.get("results", [])):
            where = f"model-index[{i}].results[{j}]"
            found += [f"{where}.{key}" for key in OF_A_RESULT if key not in result]
    messages = [f'"{name}" is required' for name in found]
    if not isinstance(data.get("tags", []), list):
        messages.append('"tags" must be an array')
    if data.get("license", "mit") not in LICENSES:
        messages.append(f'"license" must be one of {list(LICENSES)}')
    return messages


def description(store: Store, repo: Repository, commit: Commit, blobs: bool) -> dict[str, Any]:
    """A model as ``GET /api/models/...`` describes it."""
    readme = commit["files"].get("README.md")
    try:
        data = card(store.get(readme["sha256"]).decode(errors="replace")) if readme else {}
    except yaml.YAMLError:
        data = {}
    tags = [form.format(data[key]) for key, form in CARD_TAGS.items() if data.get(key)]
    tags += [tag for tag in data.get("tags") or [] if tag not in tags]
    siblings = [
        {"rfilename": name, **(_blob(file) if blobs else {})}
        for name, file in sorted(commit["files"].items())
    ]
    said = {
        "_id": repo["commits"][0]["id"][:24],
        "id": repo["id"],
        "modelId": repo["id"],
        "author": repo["id"].split("/")[0],
        "sha": commit["id"],
        "lastModified": commit["date"],
        "createdAt": repo["commits"][0]["date"],
        "private": repo["private"],
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [*tags, *(["model-index"] if data.get("model-index") else []), "region:us"],
        "cardData": data,
        "siblings": siblings,
    }
    named = ("library_name", "pipeline_tag", "model-index")
    return said | {key: data[key] for key in named if data.get(key)}


def models(store: Store, repos: Sequence[Repository], query: Query) -> list[dict[str, Any]]:
    """The models of these that a list asks for, newest first, with the fields it asks for."""
    said = [description(store, repo, repo["commits"][-1], blobs=False) for repo in repos]
    wanted = [tag for text in query.get("filter", []) for tag in text.split(",")]
    author, search = query.get("author", [""])[0], query.get("search", [""])[0].lower()
    said = [
        model
        for model in said
        if set(wanted) <= set(model["tags"])
        and author in ("", model["author"])
        and search in model["id"].lower()
    ]
    said.sort(key=lambda model: model[query.get("sort", ["createdAt"])[0]], reverse=True)
    return [{key: model[key] for key in fields(query) if key in model} for model in said]


def fields(query: Query) -> set[str]:
    """The fields of a model that a list shows."""
    if "expand" in query:
        return IDENTITY | set(query["expand"])
    more = FULL if "full" in query else set()
    return LISTED | more | ({"cardData"} & query.keys())


def page(items: list[Any], query: Query, url: str, size: int) -> tuple[list[Any], dict[str, str]]:
    """One page of a list, and the header that names the next one where there is one."""
    start = int(query.get("cursor", ["0"])[0])
    stop = start + min(size, int(query.get("limit", [str(size)])[0]))
    if stop >= len(items):
        return items[start:], {}
    following = urlencode({**query, "cursor": [stop]}, doseq=True)
    return items[start:stop], {"Link": f'<{url}?{following}>; rel="next"'}


def tree(commit: Commit, folder: str, recursive: bool) -> list[dict[str, Any]]:
    """The files and folders in a folder of a commit ("" is the root)."""
    found: dict[str, dict[str, Any]] = {}
    for name, file in sorted(commit["files"].items()):
        path = PurePosixPath(name)
        if folder and PurePosixPath(folder) not in path.parents:
            continue
        found[name] = entry(name, file)
        for parent in list(path.parents)[:-1]:
            if parent != PurePosixPath(folder) and PurePosixPath(folder) in (parent.parents):
                made = {"type": "directory", "path": str(parent), "oid": "0" * 40, "size": 0}
                found.setdefault(str(parent), made)
    depth = len(PurePosixPath(folder).parts) + 1
    return [
        said
        for name, said in sorted(found.items())
        if recursive or len(PurePosixPath(name).parts) == depth
    ]


def entry(name: str, file: File) -> dict[str, Any]:
    """A file as a tree lists it."""
    said = {"type": "file", "path": name, "size": file["size"], "oid": file["oid"]}
    return {**said, "lfs": _lfs(file, "oid")} if file["lfs"] else said


def _blob(file: File) -> dict[str, Any]:
    said = {"size": file["size"], "blobId": file["oid"]}
    return {**said, "lfs": _lfs(file, "sha256")} if file["lfs"] else said


def _lfs(file: File, name: str) -> dict[str, Any]:
    return {name: file["sha256"], "size": file["size"], "pointerSize": 130}
