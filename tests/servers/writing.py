"""What the local Hub does for who changes a repository."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from tests.servers.access import may_write, visible
from tests.servers.store import File, RefusedError, goes_by_lfs
from tests.servers.wire import Answer, Request

if TYPE_CHECKING:
    from tests.servers.hub import Hub


def create(hub: Hub, request: Request) -> Answer:
    """Make a repository."""
    asked = request.fields()
    repo_id = f"{asked.get('organization') or hub.user}/{asked['name']}"
    may_write(hub, request, repo_id)
    said = {"url": f"{request.base}/{repo_id}", "name": repo_id, "id": repo_id}
    if repo_id in hub.store.repositories:
        error = "You already created this model repo"
        return Answer({**said, "error": error}, 409, {"X-Error-Message": error})
    hub.store.create(repo_id, asked.get("visibility") == "private" or bool(asked.get("private")))
    return Answer(said)


def delete(hub: Hub, request: Request) -> Answer:
    """Forget a repository."""
    asked = request.fields()
    repo_id = f"{asked.get('organization') or hub.user}/{asked['name']}"
    may_write(hub, request, visible(hub, request, repo_id)["id"])
    hub.store.delete(repo_id)
    return Answer({})


def preupload(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    """How each file is to come, and what is there under its name already."""
    may_write(hub, request, visible(hub, request, repo_id)["id"])
    files = hub.store.at(hub.store.repositories[repo_id], revision)["files"]
    said = []
    for asked in request.fields()["files"]:
        lfs = goes_by_lfs(asked["path"], asked["size"], base64.b64decode(asked["sample"]))
        there = files.get(asked["path"])
        oid = there and there["sha256" if there["lfs"] else "oid"]
        mode = "lfs" if lfs else "regular"
        said.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return Answer({"files": said})


def lfs_batch(hub: Hub, request: Request, repo_id: str) -> Answer:
    """Where to put the large files that are not here yet."""
    may_write(hub, request, visible(hub, request, repo_id)["id"])
    objects: list[dict[str, Any]] = []
    for asked in request.fields()["objects"]:
        objects.append({"oid": asked["oid"], "size": asked["size"]})
        if not hub.store.has(asked["oid"]):
            href = f"{request.base}/lfs/{asked['oid']}"
            objects[-1]["actions"] = {
                "upload": {"href": href},
                "verify": {"href": f"{href}/verify"},
            }
    return Answer({"transfer": "basic", "objects": objects})


def lfs_upload(hub: Hub, request: Request, oid: str) -> Answer:
    """Take a large file; its address is permission enough."""
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise RefusedError(400, "the content does not match its SHA-256")
    return Answer(headers={"ETag": hub.store.put(request.body)})


def lfs_verify(hub: Hub, request: Request, oid: str) -> Answer:
    """Whether a large file has arrived."""
    return Answer({}, 200 if hub.store.has(oid) else 404)


def xet_permission(hub: Hub, request: Request, repo_id: str) -> Answer:
    """Where large files may be written by Xet."""
    may_write(hub, request, visible(hub, request, repo_id)["id"])
    if hub.xet is None:
        raise RefusedError(404, "this Hub has no Xet storage")
    headers = hub.xet.permission()
    url, token, until = headers.values()
    return Answer({"casUrl": url, "accessToken": token, "exp": int(until)}, headers=headers)


def commit(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    """Put the named files into a new commit, all or none."""
    may_write(hub, request, visible(hub, request, repo_id)["id"])
    repo = hub.store.repositories[repo_id]
    head = hub.store.at(repo, revision)
    lines = [json.loads(line) for line in request.body.splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    if not head["id"].startswith(header.get("parentCommit", "")):
        raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(head["files"])
    for line in lines:
        _apply(hub, files, line["key"], line["value"])
    made = hub.store.commit(repo, files, header["summary"], hub.user)
    url = f"{request.base}/{repo_id}/commit/{made['id']}"
    return Answer({"success": True, "commitOid": made["id"], "commitUrl": url, "hookOutput": ""})


def _apply(hub: Hub, files: dict[str, File], key: str, value: dict[str, Any]) -> None:
    path = value.get("path", "")
    if key == "file":
        files[path] = hub.store.file(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        files[path] = hub.store.file(hub.large(value["oid"], value.get("size", 0)), lfs=True)
    elif key == "deletedFolder":
        for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            del files[name]
    elif key == "deletedFile" and files.pop(path, None) is None:
        raise RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
