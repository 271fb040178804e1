"""What the local Hub answers to who only looks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.servers import answers
from tests.servers.access import asker, visible
from tests.servers.store import RefusedError
from tests.servers.wire import Answer, Request

if TYPE_CHECKING:
    from tests.servers.hub import Hub


def whoami(hub: Hub, request: Request) -> Answer:
    """The user whose token it is."""
    if not asker(hub, request):
        raise RefusedError(401, "Invalid username or password.")
    token = {"displayName": "test", "role": hub.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    said = {"type": "user", "id": "1", "name": hub.user, "fullname": hub.user, "orgs": []}
    return Answer({**said, "auth": {"type": "access_token", "accessToken": token}})


def validate_card(hub: Hub, request: Request) -> Answer:
    """Whether a card's metadata may be pushed."""
    errors = answers.faults(request.fields()["content"])
    status = 400 if errors else 200
    if request.headers.get("Accept") == "text/plain":
        return Answer("\n".join(errors).encode(), status, {"Content-Type": "text/plain"})
    said = {"errors": [{"message": error} for error in errors], "warnings": []}
    return Answer(said, status)


def models(hub: Hub, request: Request) -> Answer:
    """A page of the list of models."""
    user = asker(hub, request)
    seen = [
        repo
        for repo in hub.store.repositories.values()
        if not repo["private"] or repo["id"].startswith(f"{user}/")
    ]
    return _page(hub, request, answers.models(hub.store, seen, request.query))


def model(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    """One model, as it was at a revision."""
    repo = visible(hub, request, repo_id)
    commit = hub.store.at(repo, revision or "main")
    said = answers.description(hub.store, repo, commit, "blobs" in request.query)
    if "expand" in request.query:
        said = {key: said[key] for key in answers.fields(request.query) if key in said}
    return Answer(said)


def tree(hub: Hub, request: Request, repo_id: str, revision: str, folder: str) -> Answer:
    """A page of the files in a folder."""
    commit = hub.store.at(visible(hub, request, repo_id), revision)
    found = answers.tree(commit, folder, request.query.get("recursive") == ["true"])
    if folder and not found:
        raise RefusedError(404, f"{folder} does not exist", "EntryNotFound")
    return _page(hub, request, found)


def paths(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    """The named files; those that are not there are left out."""
    files = hub.store.at(visible(hub, request, repo_id), revision)["files"]
    named = request.fields()["paths"]
    return Answer([answers.entry(name, files[name]) for name in named if name in files])


def refs(hub: Hub, request: Request, repo_id: str) -> Answer:
    """The branches."""
    head = visible(hub, request, repo_id)["commits"][-1]["id"]
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": head}
    return Answer({"branches": [main], "tags": [], "converts": [], "pullRequests": []})


def commits(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    """A page of the history, newest first."""
    repo = visible(hub, request, repo_id)
    last = repo["commits"].index(hub.store.at(repo, revision))
    said = [
        {key: commit[key] for key in ("id", "title", "date")}
        | {"message": "", "authors": [{"user": commit["author"]}]}
        for commit in repo["commits"][last::-1]
    ]
    return _page(hub, request, said)


def resolve(hub: Hub, request: Request, repo_id: str, revision: str, name: str) -> Answer:
    """A file's bytes, or a range of them."""
    found = hub.store.at(visible(hub, request, repo_id), revision)
    if name not in found["files"]:
        raise RefusedError(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": found["id"]})
    file = found["files"][name]
    data, etag = hub.store.get(file["sha256"]), f'"{file["sha256" if file["lfs"] else "oid"]}"'
    headers = {"ETag": etag, "X-Repo-Commit": found["id"], "Accept-Ranges": "bytes"}
    if file["lfs"]:
        headers |= {"X-Linked-ETag": etag, "X-Linked-Size": str(file["size"])}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if asked is None:
        return Answer(data, headers=headers)
    start, stop = int(asked[1]), min(int(asked[2] or file["size"]) + 1, file["size"])
    if start >= file["size"]:
        raise RefusedError(416, "The range begins after the end of the file")
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file['size']}"
    return Answer(data[start:stop], 206, headers)


def _page(hub: Hub, request: Request, items: list[Any]) -> Answer:
    url = f"{request.base}{request.path}"
    said, headers = answers.page(items, request.query, url, hub.page_size)
    return Answer(said, headers=headers)
