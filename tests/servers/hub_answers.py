"""What a local Hub answers, as far as the client's push, pull and list ask."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml

from tests.servers.wire import Answer, RefusedError, Request

if TYPE_CHECKING:
    from tests.servers.hub import Hub

LFS = {".npz", ".pkl", ".pth", ".zip"}  # the real list has two dozen more
LICENSES = ("apache-2.0", "mit", "other")  # and many more
OF_A_RESULT = ("task", "dataset", "metrics")
OF_THE_CARD = ("library_name", "pipeline_tag", "model-index")


def goes_by_lfs(path: str, data: bytes) -> bool:
    """Whether the Hub wants a file in the large-file storage: by its name or first bytes."""
    return bool(data) and (PurePosixPath(path).suffix in LFS or b"\0" in data[:512])


def git_oid(data: bytes) -> str:
    """The name git gives to these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def whoami(hub: Hub, request: Request) -> Answer:
    """The user whose token it is."""
    if not hub.asker(request):
        raise RefusedError(401, "Invalid username or password.")
    token = {"displayName": "test", "role": hub.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    said = {"type": "user", "id": "1", "name": hub.user, "fullname": hub.user, "orgs": []}
    return Answer({**said, "auth": {"type": "access_token", "accessToken": token}})


def card(content: str) -> dict[str, Any]:
    """The metadata at the head of a model card."""
    head = re.match(r"---\r?\n(.*?)\r?\n---", content, re.DOTALL)
    data = yaml.safe_load(head.group(1)) if head else None
    return data if isinstance(data, dict) else {}


def validate_card(hub: Hub, request: Request) -> Answer:
    """Whether a card's metadata may be pushed."""
    data = card(request.fields()["content"])
    results = [result for model in data.get("model-index", []) for result in model["results"]]
    lacking = {key for result in results for key in OF_A_RESULT if key not in result}
    errors = [f'"{key}" is required' for key in sorted(lacking)]
    if not isinstance(data.get("tags", []), list):
        errors.append('"tags" must be an array')
    if data.get("license", "mit") not in LICENSES:
        errors.append(f'"license" must be one of {list(LICENSES)}')
    said = {"errors": [{"message": error} for error in errors], "warnings": []}
    return Answer(said, 400 if errors else 200)


def description(repo: dict[str, Any], commit: dict[str, Any], blobs: bool) -> dict[str, Any]:
    """A model as ``GET /api/models/...`` describes it."""
    files = commit["files"]
    data = card(files.get("README.md", b"").decode(errors="replace"))
    tags = [data["library_name"]] if "library_name" in data else []
    siblings = [
        {"rfilename": name, **({"size": len(files[name])} if blobs else {})}
        for name in sorted(files)
    ]
    said = {"_id": "1", "id": repo["id"], "modelId": repo["id"], "sha": commit["id"]}
    said |= {"private": repo["private"], "tags": [*tags, *data.get("tags", [])]}
    said |= {"cardData": data, "siblings": siblings}
    return said | {key: data[key] for key in OF_THE_CARD if key in data}


def models(hub: Hub, request: Request) -> Answer:
    """A page of the list of models."""
    user = hub.asker(request)
    seen = [r for r in hub.repositories.values() if not r["private"] or r["id"].startswith(user)]
    wanted = set(request.query.get("filter", []))
    said = [description(repo, repo["commits"][-1], blobs=False) for repo in seen]
    said = [model for model in said if wanted <= set(model["tags"])]
    start = int(request.query.get("cursor", ["0"])[0])
    stop = start + hub.page_size
    following = urlencode({**request.query, "cursor": [stop]}, doseq=True)
    link = {"Link": f'<{request.base}{request.path}?{following}>; rel="next"'}
    return Answer(said[start:stop], headers=link if stop < len(said) else {})


def model(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    """One model, as it was at a revision."""
    repo = hub.visible(request, repo_id)
    return Answer(description(repo, hub.at(repo, revision), "blobs" in request.query))


def resolve(hub: Hub, request: Request, repo_id: str, revision: str, name: str) -> Answer:
    """A file's bytes."""
    found = hub.at(hub.visible(request, repo_id), revision)
    headers = {"X-Repo-Commit": found["id"]}
    if name not in found["files"]:
        raise RefusedError(404, "Entry not found", "EntryNotFound", headers)
    data = found["files"][name]
    headers["ETag"] = f'"{sha256(data) if goes_by_lfs(name, data) else git_oid(data)}"'
    return Answer(data, headers=headers)


def create(hub: Hub, request: Request) -> Answer:
    """Make a repository."""
    asked = request.fields()
    repo_id = f"{asked.get('organization') or hub.user}/{asked['name']}"
    hub.writable(request, repo_id)
    said = {"url": f"{request.base}/{repo_id}", "name": repo_id, "id": repo_id}
    if repo_id in hub.repositories:
        error = "You already created this model repo"
        return Answer({**said, "error": error}, 409, {"X-Error-Message": error})
    hub.create(repo_id, asked.get("visibility") == "private" or bool(asked.get("private")))
    return Answer(said)


def preupload(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    """How each file is to come, and what is there under its name already."""
    hub.writable(request, hub.visible(request, repo_id)["id"])
    there, said = hub.files(repo_id), []
    for asked in request.fields()["files"]:
        name, old = asked["path"], there.get(asked["path"])
        lfs = goes_by_lfs(name, base64.b64decode(asked["sample"]))
        oid = old and (sha256(old) if goes_by_lfs(name, old) else git_oid(old))
        mode = "lfs" if lfs else "regular"
        said.append({"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return Answer({"files": said})


def lfs_batch(hub: Hub, request: Request, repo_id: str) -> Answer:
    """Where to put the large files that are not here yet."""
    hub.writable(request, hub.visible(request, repo_id)["id"])
    objects = [{"oid": each["oid"], "size": each["size"]} for each in request.fields()["objects"]]
    for each in objects:
        if each["oid"] not in hub.uploads:
            href = f"{request.base}/lfs/{each['oid']}"
            each["actions"] = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
    return Answer({"transfer": "basic", "objects": objects})


def lfs_upload(hub: Hub, request: Request, oid: str) -> Answer:
    """Take a large file; its address is permission enough."""
    if sha256(request.body) != oid:
        raise RefusedError(400, "the content does not match its SHA-256")
    hub.uploads[oid] = request.body
    return Answer()


def lfs_verify(hub: Hub, request: Request, oid: str) -> Answer:
    """Whether a large file has arrived."""
    return Answer({}, 200 if oid in hub.uploads else 404)


def commit(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    """Put the named files into a new commit, all or none."""
    repo = hub.visible(request, repo_id)
    hub.writable(request, repo_id)
    lines = [json.loads(line) for line in request.body.splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    if not repo["commits"][-1]["id"].startswith(header.get("parentCommit", "")):
        raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
    files = hub.files(repo_id)
    for key, value in ((line["key"], line["value"]) for line in lines):
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            files[value["path"]] = hub.uploads[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]
    made = hub.commit(repo, files, header["summary"])
    url = f"{request.base}/{repo_id}/commit/{made['id']}"
    return Answer({"success": True, "commitOid": made["id"], "commitUrl": url, "hookOutput": ""})


MODEL = r"/api/models/([^/]+/[^/]+)"
ROUTES = (
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/validate-yaml", validate_card),
    ("POST", "/api/repos/create", create),
    ("GET", "/api/models", models),
    ("GET", MODEL + "(?:/revision/([^/]+))?", model),
    ("POST", MODEL + "/preupload/([^/]+)", preupload),
    ("POST", MODEL + "/commit/([^/]+)", commit),
    ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", lfs_batch),
    ("PUT", "/lfs/([0-9a-f]{64})", lfs_upload),
    ("POST", "/lfs/([0-9a-f]{64})/verify", lfs_verify),
    ("GET", "/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", resolve),
)
