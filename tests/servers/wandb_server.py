"""A Weights & Biases on this machine, for its real client."""

from __future__ import annotations

import gzip
import re
import threading
import time
from base64 import b64decode
from typing import Any

from tests.servers.wandb_queries import OPERATIONS
from tests.servers.wandb_runs import ENTITY, RunStore
from tests.servers.wire import Answer, Fault, Request, Server

KEY = "local" + "x" * 35  # 40 letters, as a real one


class WandbServer:
    """A running W&B, what it holds, and what goes wrong with it next.

    :ivar key: the only one that it takes; another one here: the client's is wrong
    :ivar requests: method, path and GraphQL operation of each request in the order they came
    """

    def __init__(self, port: int = 0) -> None:
        self.key, self.entity, self.store = KEY, ENTITY, RunStore()
        self.requests: list[tuple[str, str, str]] = []
        self._faults: list[Fault] = []
        self._silent = ""
        self._server = Server(port, self.answer)
        self._is_open = False
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ERROR_REPORTING": "false",
            "NO_PROXY": "127.0.0.1",
        }

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._is_open = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Serve no longer; who asks finds nobody."""
        if self._is_open:
            self._is_open = False
            self._server.shutdown()
            self._server.server_close()

    def restart(self) -> None:
        """Serve again at the same address, with all that was there."""
        self.stop()
        self._server = Server(self.port, self.answer)
        self.start()

    def fail(self, pattern: str, status: int, times: int = 10**9) -> None:
        """Answer the next requests whose path or operation is this with a status, and do nothing.

        :param pattern: a regular expression, found anywhere in ``<path> <operation>``
        """
        answer = Answer({"errors": [{"message": f"W&B says {status}"}]}, status)
        self._faults.append(Fault("", pattern, times, answer))

    def freeze(self, pattern: str = "/") -> None:
        """Take requests and never answer, those whose path or operation is this."""
        self._silent = pattern

    def mend(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()
        self._silent = ""

    def wait_for_rows(self, number: int, seconds: float = 300.0) -> None:
        """Wait until so many rows have arrived, of all runs together."""
        end = time.monotonic() + seconds
        while sum(len(run["history"]) for run in self.store.runs.values()) < number:
            if time.monotonic() > end:
                raise TimeoutError(f"{number} rows have not arrived in {seconds} s")
            time.sleep(0.01)

    def url_of(self, owner: str, name: str) -> str:
        """Where a file is put and read."""
        return f"{self.url}/storage/{owner}/{name}"

    def answer(self, request: Request) -> Answer | None:
        """What becomes of a request; None: its connection is cut."""
        if not self._is_open:  # one that was made before
            return None
        if request.headers.get("Content-Encoding") == "gzip":
            request.body = gzip.decompress(request.body)
        asked = request.fields() if request.path == "/graphql" else {}
        found = re.search(r"(?:query|mutation)\s+(\w+)", asked.get("query", ""))
        operation = found[1] if found else ""
        while self._silent and re.search(self._silent, f"{request.path} {operation}"):
            time.sleep(0.05)
        with self.store.lock:
            self.requests.append((request.method, request.path, operation))
            named = Request("", f"{request.path} {operation}", {}, {}, b"", "")
            fault = next((fault.answer for fault in self._faults if fault.takes(named)), None)
            return fault or self._act(request, operation, asked.get("variables") or {})

    def _act(self, request: Request, operation: str, variables: dict[str, Any]) -> Answer:
        if storage := re.fullmatch(r"/storage/([^/]+)/(.+)", request.path):
            if request.method == "PUT":
                self.store.put(storage[1], storage[2], request.body)
                return Answer()
            return Answer(self.store.files[storage[1]][storage[2]])
        if not self._knows(request):
            return Answer({"errors": [{"message": "user is not logged in"}]}, 401)
        if stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", request.path):
            self.store.stream(stream[1], request.fields())
            return Answer({"exitcode": None, "limits": {}})
        if operation not in OPERATIONS:
            return Answer({"errors": [{"message": f"no {request.path} {operation} here"}]}, 404)
        return Answer({"data": OPERATIONS[operation](self, variables)})

    def _knows(self, request: Request) -> bool:
        kind, _, given = (request.headers.get("Authorization") or "").partition(" ")
        return kind == "Basic" and b64decode(given).decode() == f"api:{self.key}"
