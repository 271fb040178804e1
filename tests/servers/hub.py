"""A Hugging Face Hub on this machine, as far as the client's push, pull and list ask.

It keeps everything in memory; what goes wrong with it next is said by `fail` and `cut`.
"""

import base64
import hashlib
import json
import re
import threading
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import yaml

from tests.servers.wire import Answer, Fault, Request, Server

TOKEN = "hf_" + "LocalTestsOnly" + "x" * 20  # 34 letters, as a real one
LFS = {".npz", ".pkl", ".pth", ".zip"}  # the real list has two dozen more
Files = dict[str, bytes]


class RefusedError(Exception):
    """What the Hub answers instead of a result; ``code`` is its ``X-Error-Code``."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.answer = Answer({"error": message}, status, headers)


class Hub:
    """A running Hub.

    :ivar token: the only one that it takes; another one here: the client's has expired
    :ivar role: what the token may do: ``write`` or ``read``
    :ivar requests: paths in the order they came
    :ivar uploads: large files that no commit names yet, by their SHA-256
    """

    def __init__(self, root: Path) -> None:
        self.user, self.token, self.role = "tester", TOKEN, "write"
        self.requests: list[str] = []
        self.repositories: dict[str, dict[str, Any]] = {}
        self.uploads: Files = {}
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._cuts: dict[int, bool] = {}  # number of the request -> whether the server acts on it
        self._server = Server(0, self.answer)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.env = {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(root / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo_id: str, files: Files) -> str:
        """Commit files, into a new repository where there is none; the commit's name."""
        with self._lock:
            if repo_id not in self.repositories:
                self.create(repo_id, private=False)
            return self.commit(repo_id, self.files(repo_id) | files)

    def create(self, repo_id: str, private: bool) -> None:
        self.repositories[repo_id] = {"id": repo_id, "private": private, "commits": []}
        self.commit(repo_id, {".gitattributes": b""})

    def commit(self, repo_id: str, files: Files) -> str:
        commits = self.repositories[repo_id]["commits"]
        said = f"{repo_id} {len(commits)} {sorted(files.items())}"
        commits.append({"id": hashlib.sha1(said.encode()).hexdigest(), "files": files})
        return str(commits[-1]["id"])

    def files(self, repo_id: str) -> Files:
        return dict(self.repositories[repo_id]["commits"][-1]["files"])

    def commits(self, repo_id: str) -> list[dict[str, Any]]:
        return list(self.repositories[repo_id]["commits"])

    def fail(self, method: str, pattern: str, status: int, said: str | bytes = "no") -> None:
        """Answer requests with this status and what the Hub, or as bytes a proxy, says to it."""
        page = isinstance(said, bytes)
        answer = Answer(said, status) if page else RefusedError(status, str(said)).answer
        self._faults.append(Fault(method, pattern, answer))

    def cut(self, n: int, after: bool = False) -> None:
        """End the connection of the n-th request from now, before or after acting on it."""
        self._cuts[len(self.requests) + n] = after

    def mend(self) -> None:
        self._faults.clear()
        self._cuts.clear()

    def answer(self, request: Request) -> Answer | None:
        """What becomes of a request; None: its connection is cut."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(request.path)
            faults = [] if number in self._cuts else self._faults
            answer = next((fault.answer for fault in faults if fault.takes(request)), None)
            if self._cuts.get(number) is False:
                return None
            answer = answer or self._route(request)
            return None if number in self._cuts else answer

    def _route(self, request: Request) -> Answer:
        method = request.method.replace("HEAD", "GET")
        try:
            for allowed, pattern, act in ROUTES:
                match = re.fullmatch(pattern, request.path)
                if match and method == allowed:
                    parts = (unquote(part or "") for part in match.groups())
                    answer: Answer = act(self, request, *parts)
                    return answer
            raise RefusedError(404, f"there is no {request.method} {request.path} here")
        except RefusedError as refusal:
            return refusal.answer

    def asker(self, request: Request) -> str:
        """Who asks; "" without a token."""
        given = request.headers.get("Authorization")
        if given not in (None, f"Bearer {self.token}"):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return self.user if given else ""

    def visible(self, request: Request, repo_id: str) -> dict[str, Any]:
        user, repo = self.asker(request), self.repositories.get(repo_id)
        if repo is None or (repo["private"] and user != repo_id.split("/")[0]):
            # The real Hub names no code to those without a token.
            raise RefusedError(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def writable(self, request: Request, repo_id: str) -> None:
        if self.asker(request) != repo_id.split("/")[0] or self.role == "read":
            raise RefusedError(403, f"You don't have the rights to write to {repo_id}")

    def at(self, repo: dict[str, Any], revision: str) -> dict[str, Any]:
        if revision in ("", "main"):
            return dict(repo["commits"][-1])
        for commit in repo["commits"]:
            if commit["id"] == revision:
                return dict(commit)
        raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def names_of(name: str, data: bytes) -> tuple[bool, str]:
    """Whether the Hub wants a file in the large-file storage, and its name there or in git."""
    lfs = bool(data) and (PurePosixPath(name).suffix in LFS or b"\0" in data[:512])
    git = hashlib.sha1(b"blob %d\0" % len(data) + data)
    return lfs, (hashlib.sha256(data) if lfs else git).hexdigest()


def whoami(hub: Hub, request: Request) -> Answer:
    if not hub.asker(request):
        raise RefusedError(401, "Invalid username or password.")
    token = {"auth": {"accessToken": {"role": hub.role}}}
    return Answer({"name": hub.user, "orgs": [], **token})


def description(repo: dict[str, Any], commit: dict[str, Any]) -> dict[str, Any]:
    files = commit["files"]
    head = re.match(r"---\n(.*?)\n---", files.get("README.md", b"").decode(), re.DOTALL)
    data = yaml.safe_load(head[1]) if head else {}
    said = {"_id": "1", "id": repo["id"], "sha": commit["id"], "private": repo["private"]}
    said |= {"tags": data.get("tags", []), "cardData": data}
    said |= {"siblings": [{"rfilename": n, "size": len(files[n])} for n in files]}
    return said | ({"model-index": data["model-index"]} if "model-index" in data else {})


def models(hub: Hub, request: Request) -> Answer:
    hub.asker(request)
    wanted = set(request.query.get("filter", []))
    said = [description(r, r["commits"][-1]) for r in hub.repositories.values()]
    return Answer([model for model in said if wanted <= set(model["tags"])])


def model(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    repo = hub.visible(request, repo_id)
    return Answer(description(repo, hub.at(repo, revision)))


def tree(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    files = hub.at(hub.visible(request, repo_id), revision)["files"]
    return Answer([{"type": "file", "path": n, "size": len(files[n]), "oid": n} for n in files])


def resolve(hub: Hub, request: Request, repo_id: str, revision: str, name: str) -> Answer:
    found = hub.at(hub.visible(request, repo_id), revision)
    if name not in found["files"]:
        raise RefusedError(404, "Entry not found", "EntryNotFound")
    data = found["files"][name]
    headers = {"X-Repo-Commit": found["id"], "ETag": f'"{names_of(name, data)[1]}"'}
    return Answer(data, headers=headers)


def create(hub: Hub, request: Request) -> Answer:
    asked = request.fields()
    repo_id = f"{asked.get('organization') or hub.user}/{asked['name']}"
    hub.writable(request, repo_id)
    said = {"url": f"{request.base}/{repo_id}"}
    if repo_id in hub.repositories:
        return Answer(said, 409)
    hub.create(repo_id, asked.get("visibility") == "private" or bool(asked.get("private")))
    return Answer(said)


def preupload(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    hub.writable(request, hub.visible(request, repo_id)["id"])
    there, said = hub.files(repo_id), []
    for asked in request.fields()["files"]:
        name = asked["path"]
        lfs, _ = names_of(name, base64.b64decode(asked["sample"]))
        oid = names_of(name, there[name])[1] if name in there else None
        mode = "lfs" if lfs else "regular"
        said.append({"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return Answer({"files": said})


def lfs_batch(hub: Hub, request: Request, repo_id: str) -> Answer:
    hub.writable(request, hub.visible(request, repo_id)["id"])
    objects = [{"oid": each["oid"], "size": each["size"]} for each in request.fields()["objects"]]
    for each in objects:
        if each["oid"] not in hub.uploads:
            each["actions"] = {"upload": {"href": f"{request.base}/lfs/{each['oid']}"}}
    return Answer({"transfer": "basic", "objects": objects})


def lfs_upload(hub: Hub, request: Request, oid: str) -> Answer:
    hub.uploads[oid] = request.body
    return Answer()


def commit(hub: Hub, request: Request, repo_id: str, revision: str) -> Answer:
    repo = hub.visible(request, repo_id)
    hub.writable(request, repo_id)
    (_, header), *lines = [json.loads(line).values() for line in request.body.splitlines()]
    if not repo["commits"][-1]["id"].startswith(header.get("parentCommit", "")):
        raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
    files = hub.files(repo_id)
    for key, value in lines:
        if key == "deletedFile":
            del files[value["path"]]
            continue
        lfs = key == "lfsFile"
        content = hub.uploads[value["oid"]] if lfs else base64.b64decode(value["content"])
        files[value["path"]] = content
    made = hub.commit(repo_id, files)
    return Answer({"commitOid": made, "commitUrl": f"{request.base}/{repo_id}/commit/{made}"})


MODEL = r"/api/models/([^/]+/[^/]+)"
ROUTES = (
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/validate-yaml", lambda *_: Answer({"errors": [], "warnings": []})),
    ("POST", "/api/repos/create", create),
    ("GET", "/api/models", models),
    ("GET", MODEL + "(?:/revision/([^/]+))?", model),
    ("GET", MODEL + "/tree/([^/]+)", tree),
    ("POST", MODEL + "/preupload/([^/]+)", preupload),
    ("POST", MODEL + "/commit/([^/]+)", commit),
    ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", lfs_batch),
    ("PUT", "/lfs/([0-9a-f]{64})", lfs_upload),
    ("GET", "/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", resolve),
)
