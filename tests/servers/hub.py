"""A Hugging Face Hub on this machine, for its real client.

By hand: ``python -m tests.servers.hub --root FOLDER --port 8123 [--xet]``
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from tests.servers.routes import route
from tests.servers.store import Commit, RefusedError, Store, goes_by_lfs
from tests.servers.wire import Answer, Fault, Request, Server, refused
from tests.servers.xet import XetFolder

TOKEN = "hf_" + "LocalTestsOnly" + "x" * 20  # 34 letters, as a real one


class Hub:
    """A running Hub, what it holds, and what goes wrong with it next.

    :ivar token: the only one that it takes; another one here: the client's has expired
    :ivar role: what the token may do: ``write`` or ``read``
    :ivar page_size: the most that one page of a list holds
    :ivar requests: method, path and status of each request in the order they came; the status is
        None while there is no answer yet, and where there never was one
    """

    def __init__(self, root: Path, port: int = 0, xet: bool = False) -> None:
        self.user, self.token, self.role = "tester", TOKEN, "write"
        self.page_size = 1000
        self.requests: list[tuple[str, str, int | None]] = []
        self.store = Store(root)
        self.xet = XetFolder(root / "xet") if xet else None
        self._faults: list[Fault] = []
        self._cuts: dict[int, bool] = {}  # number of the request -> whether the server acts on it
        self._server = Server(port, self.answer)
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

    def add(
        self,
        repo_id: str,
        files: dict[str, bytes],
        private: bool = False,
        symlinks: dict[str, str] | None = None,
    ) -> str:
        """Commit files, into a new repository where there is none; the commit's name.

        :param symlinks: name -> target; the Hub hands out a link as a file with its target in it
        """
        with self.store.lock:
            repo = self.store.repositories.get(repo_id) or self.store.create(repo_id, private)
            new = {
                name: self.store.file(data, goes_by_lfs(name, len(data), data[:512]))
                for name, data in files.items()
            }
            links = {name: self.store.file(to.encode()) for name, to in (symlinks or {}).items()}
            kept = repo["commits"][-1]["files"] | new | links
            return str(self.store.commit(repo, kept, "Added", repo_id.split("/")[0])["id"])

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Every file of a repository."""
        commit = self.store.at(self.store.repositories[repo_id], revision)
        return {name: self.store.get(file["sha256"]) for name, file in commit["files"].items()}

    def commits(self, repo_id: str) -> list[Commit]:
        """A repository's commits, oldest first."""
        return list(self.store.repositories[repo_id]["commits"])

    def private(self, repo_id: str) -> bool:
        """Whether only its owner sees a repository."""
        return bool(self.store.repositories[repo_id]["private"])

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
        with self.store.lock:
            number = len(self.requests)
            self.requests.append((request.method, request.path, None))
            faults = [] if number in self._cuts else self._faults
            answer = next((fault.answer for fault in faults if fault.takes(request)), None)
        if self._cuts.get(number) is False:
            return None
        answer = answer or self._act(request)
        if number in self._cuts:
            return None
        self.requests[number] = (request.method, request.path, answer.status)
        return answer

    def large(self, oid: str, size: int) -> bytes:
        """A large file that was uploaded before the commit that names it."""
        if self.store.has(oid):
            return self.store.get(oid)
        data = self.xet and self.xet.get(oid, size)
        if not data:
            raise RefusedError(400, f"LFS pointer points to a file that does not exist: {oid}")
        return data

    def _act(self, request: Request) -> Answer:
        try:
            return route(self, request)
        except RefusedError as refusal:
            return refused(refusal)
        except Exception as error:  # a fault of this server's own: seen in the client's message
            return Answer({"error": f"the local Hub failed: {error!r}"}, 500)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A Hugging Face Hub on this machine.")
    parser.add_argument("--root", type=Path, required=True, help="folder that keeps what is pushed")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--xet", action="store_true", help="let the client upload by Xet")
    options = parser.parse_args()
    hub = Hub(options.root.resolve(), options.port, options.xet)
    hub.start()
    for name, value in hub.env.items():
        print(f"export {name}={value}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        hub.stop()


if __name__ == "__main__":
    main()
