"""A Hugging Face Hub on this machine, for its real client; it keeps everything in memory."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

from tests.servers.hub_answers import ROUTES
from tests.servers.wire import Answer, Fault, RefusedError, Request, Server, refused, route

TOKEN = "hf_" + "LocalTestsOnly" + "x" * 20  # 34 letters, as a real one
Files = dict[str, bytes]


class Hub:
    """A running Hub, what it holds, and what goes wrong with it next.

    :ivar token: the only one that it takes; another one here: the client's has expired
    :ivar role: what the token may do: ``write`` or ``read``
    :ivar page_size: the most that one page of a list holds
    :ivar requests: method, path and status of each request in the order they came; the status is
        None while there is no answer yet, and where there never was one
    :ivar uploads: large files that no commit names yet, by their SHA-256
    """

    def __init__(self, root: Path, xet: bool = False) -> None:
        self.user, self.token, self.role = "tester", TOKEN, "write"
        self.page_size = 1000
        self.requests: list[tuple[str, str, int | None]] = []
        self.repositories: dict[str, dict[str, Any]] = {}
        self.uploads: Files = {}
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._cuts: dict[int, bool] = {}  # number of the request -> whether the server acts on it
        self._server = Server(0, self.answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.env = {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(root / "home"),
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_XET_CLIENT_RETRY_BASE_DELAY": "1ms",
            "NO_PROXY": "127.0.0.1",
        }

    def start(self) -> None:
        """Serve in a thread of its own."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._server.server_close()

    def add(self, repo_id: str, files: Files, private: bool = False) -> str:
        """Commit files, into a new repository where there is none; the commit's name."""
        with self._lock:
            repo = self.repositories.get(repo_id) or self.create(repo_id, private)
            return str(self.commit(repo, repo["commits"][-1]["files"] | files, "Added")["id"])

    def create(self, repo_id: str, private: bool) -> dict[str, Any]:
        """A new repository with its first commit."""
        repo = self.repositories[repo_id] = {"id": repo_id, "private": private, "commits": []}
        self.commit(repo, {".gitattributes": b""}, "initial commit")
        return repo

    def commit(self, repo: dict[str, Any], files: Files, title: str) -> dict[str, Any]:
        """Add a commit that leaves exactly these files."""
        number = len(repo["commits"])
        name = hashlib.sha1(f"{repo['id']} {number} {sorted(files.items())}".encode()).hexdigest()
        made = {"id": name, "title": title, "files": files}
        repo["commits"].append(made)
        return made

    def files(self, repo_id: str) -> Files:
        """Every file of a repository."""
        return dict(self.repositories[repo_id]["commits"][-1]["files"])

    def commits(self, repo_id: str) -> list[dict[str, Any]]:
        """A repository's commits, oldest first."""
        return list(self.repositories[repo_id]["commits"])

    def private(self, repo_id: str) -> bool:
        """Whether only its owner sees a repository."""
        return bool(self.repositories[repo_id]["private"])

    def fail(
        self,
        method: str,
        pattern: str,
        status: int,
        times: int = 1,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """Answer the next requests with this status instead of acting on them.

        :param pattern: found anywhere in the path
        :param body: what a proxy in between would say; default: what the Hub says
        """
        expired = "Invalid credentials in Authorization header"
        said = refused(RefusedError(status, expired if status == 401 else f"The Hub says {status}"))
        if body is not None:
            said = Answer(body, status, {"Content-Type": "text/html"})
        said.headers.update(headers or {})
        self._faults.append(Fault(method, pattern, times, said))

    def cut(self, n: int, after: bool = False) -> None:
        """End the connection of the n-th request from now (0: the next) without an answer.

        :param after: the server has acted on it, only the answer is lost
        """
        self._cuts[len(self.requests) + n] = after

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()
        self._cuts.clear()

    def answer(self, request: Request) -> Answer | None:
        """What becomes of a request; None: its connection is cut."""
        with self._lock:
            number = len(self.requests)
            self.requests.append((request.method, request.path, None))
            faults = [] if number in self._cuts else self._faults
            answer = next((fault.answer for fault in faults if fault.takes(request)), None)
            if self._cuts.get(number) is False:
                return None
            answer = answer or route(ROUTES, self, request)
        if number in self._cuts:
            return None
        self.requests[number] = (request.method, request.path, answer.status)
        return answer

    def asker(self, request: Request) -> str:
        """Who asks; "" without a token."""
        given = request.headers.get("Authorization")
        if given not in (None, f"Bearer {self.token}"):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return self.user if given else ""

    def visible(self, request: Request, repo_id: str) -> dict[str, Any]:
        """A repository, where it is there and the asker may know of it."""
        user, repo = self.asker(request), self.repositories.get(repo_id)
        if repo is None or (repo["private"] and user != repo_id.split("/")[0]):
            # The real Hub names no code to those without a token.
            raise RefusedError(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def writable(self, request: Request, repo_id: str) -> None:
        """Refuse who may not change a repository."""
        user = self.asker(request)
        if not user:
            raise RefusedError(401, "Invalid username or password.")
        if self.role == "read" or user != repo_id.split("/")[0]:
            raise RefusedError(403, f"You don't have the rights to write to {repo_id}")

    def at(self, repo: dict[str, Any], revision: str) -> dict[str, Any]:
        """The commit that a branch or a commit's name stands for."""
        if revision in ("", "main"):
            return dict(repo["commits"][-1])
        for commit in repo["commits"]:
            if commit["id"] == revision:
                return dict(commit)
        raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
