"""What a local Hub keeps: repositories as lists of commits, and the bytes of their files.

A file is a description of its bytes (``{"sha256", "size", "oid", "lfs"}``), a commit the
descriptions of all its files, a repository a JSON file: a restarted server goes on with them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

LFS = {
    *(".7z", ".bin", ".bz2", ".ckpt", ".gz", ".h5", ".npy", ".npz", ".onnx", ".parquet"),
    *(".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".tar", ".tgz", ".xz", ".zip", ".zst"),
}  # the real list has a dozen more, and *tfevents*
GITATTRIBUTES = "".join(f"*{type_} filter=lfs diff=lfs merge=lfs -text\n" for type_ in sorted(LFS))
LARGE = 10 * 1024 * 1024  # bytes: from here on no file is kept in git itself
SHORTEST_SHA = 7

File = dict[str, Any]
Commit = dict[str, Any]
Repository = dict[str, Any]


class RefusedError(Exception):
    """What the Hub answers instead of a result; ``code`` is its ``X-Error-Code``."""

    def __init__(
        self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers = headers or {}


def git_oid(data: bytes) -> str:
    """The name git gives to these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def goes_by_lfs(path: str, size: int, sample: bytes) -> bool:
    """Whether the Hub wants a file in the large-file storage: by its name, size or first bytes."""
    by_name = PurePosixPath(path).suffix in LFS
    return size > 0 and (by_name or size > LARGE or b"\0" in sample)


class Store:
    """Repositories and bytes in a folder; every method may be called from any thread."""

    def __init__(self, root: Path) -> None:
        self.lock = threading.RLock()
        self.blobs, self.folder = root / "blobs", root / "repositories"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        read = [json.loads(file.read_text()) for file in sorted(self.folder.glob("*.json"))]
        self.repositories: dict[str, Repository] = {repo["id"]: repo for repo in read}

    def put(self, data: bytes) -> str:
        """Keep bytes; their SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        new = self.blobs / f"{sha256}.{threading.get_ident()}"
        new.write_bytes(data)
        os.replace(new, self.blobs / sha256)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes with this SHA-256."""
        return (self.blobs / sha256).read_bytes()

    def has(self, sha256: str) -> bool:
        """Whether the bytes with this SHA-256 are here."""
        return bool(re.fullmatch("[0-9a-f]{64}", sha256)) and (self.blobs / sha256).exists()

    def file(self, data: bytes, lfs: bool = False) -> File:
        """Keep bytes and describe them."""
        return {"sha256": self.put(data), "size": len(data), "oid": git_oid(data), "lfs": lfs}

    def create(self, repo_id: str, private: bool) -> Repository:
        """A new repository with its first commit, which only says what goes by LFS."""
        if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repo_id) or ".." in repo_id:
            raise RefusedError(400, f"Invalid repo name: {repo_id}")
        repo: Repository = {"id": repo_id, "private": private, "commits": []}
        with self.lock:
            attributes = self.file(GITATTRIBUTES.encode())
            self.commit(repo, {".gitattributes": attributes}, "initial commit", "system")
            self.repositories[repo_id] = repo
        return repo

    def delete(self, repo_id: str) -> None:
        """Forget a repository."""
        with self.lock:
            del self.repositories[repo_id]
            self._path(repo_id).unlink()

    def commit(self, repo: Repository, files: dict[str, File], title: str, author: str) -> Commit:
        """Add a commit that leaves exactly these files."""
        with self.lock:
            parent = repo["commits"][-1]["id"] if repo["commits"] else None
            commit: Commit = {"parent": parent, "title": title, "author": author, "files": files}
            commit["date"] = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
            text = json.dumps([repo["id"], len(repo["commits"]), commit], sort_keys=True)
            commit["id"] = hashlib.sha1(text.encode()).hexdigest()
            repo["commits"].append(commit)
            new = self._path(repo["id"]).with_suffix(".new")
            new.write_text(json.dumps(repo))
            os.replace(new, self._path(repo["id"]))
        return commit

    def at(self, repo: Repository, revision: str) -> Commit:
        """The commit that a branch or (the first letters of) a commit's name stands for."""
        with self.lock:
            if revision in ("main", "HEAD", "refs/heads/main"):
                newest: Commit = repo["commits"][-1]
                return newest
            named: list[Commit] = [c for c in repo["commits"] if c["id"].startswith(revision)]
        if len(revision) < SHORTEST_SHA or not named:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return named[0]

    def _path(self, repo_id: str) -> Path:
        return self.folder / (repo_id.replace("/", "__") + ".json")
