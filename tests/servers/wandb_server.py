"""``server``: a Weights & Biases on this machine for its real client."""

import gzip
import os
import re
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.wandb_store import OPERATIONS, RunStore
from tests.servers.wire import Answer, Fault, Request, Server

KEY = "local" + "x" * 35  # 40 letters, as a real one


class WandbServer:
    """A running W&B, what it holds, and what goes wrong with it next.

    :ivar key: the only one that it takes; another one here: the client's is wrong
    :ivar requests: path and GraphQL operation of each request in the order they came
    """

    def __init__(self) -> None:
        self.key = KEY
        self.requests: list[str] = []
        self.mend()
        self._server = Server(0, self.answer)
        self._is_open = False
        self.port = self._server.server_port
        url = f"http://127.0.0.1:{self.port}"
        self.store = RunStore(url)
        self.env = {
            "WANDB_BASE_URL": url,
            "WANDB_API_KEY": KEY,
            "WANDB_ERROR_REPORTING": "false",
            "NO_PROXY": "127.0.0.1",
        }

    def start(self) -> None:
        self._is_open = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._is_open:
            self._is_open = False
            self._server.shutdown()
            self._server.server_close()

    def restart(self) -> None:
        self.stop()
        self._server = Server(self.port, self.answer)
        self.start()

    def fail(self, pattern: str, status: int) -> None:
        """Answer requests with this anywhere in ``<path> <operation>`` with a status."""
        answer = Answer({"errors": [{"message": f"W&B says {status}"}]}, status)
        self._faults.append(Fault("", pattern, answer))

    def freeze(self, pattern: str = "/") -> None:
        """Take requests and never answer, those whose path or operation is this."""
        self._silent = pattern

    def mend(self) -> None:
        self._faults: list[Fault] = []
        self._silent = ""

    def wait_for_rows(self, number: int, seconds: float = 300.0) -> None:
        end = time.monotonic() + seconds
        while sum(len(run["history"]) for run in self.store.runs.values()) < number:
            if time.monotonic() > end:
                raise TimeoutError(f"{number} rows have not arrived in {seconds} s")
            time.sleep(0.01)

    def answer(self, request: Request) -> Answer | None:
        if not self._is_open:  # one that was made before
            return None
        if request.headers.get("Content-Encoding") == "gzip":
            request.body = gzip.decompress(request.body)
        asked = request.fields() if request.path == "/graphql" else {}
        found = re.search(r"(?:query|mutation)\s+(\w+)", asked.get("query", ""))
        operation = found[1] if found else ""
        named = Request("", f"{request.path} {operation}", {}, {}, b"", "")
        while self._silent and re.search(self._silent, named.path):
            time.sleep(0.05)
        with self.store.lock:
            self.requests.append(named.path)
            for fault in self._faults:
                if fault.takes(named):
                    return fault.answer
            if storage := re.fullmatch(r"/storage/([^/]+)/(.+)", request.path):
                self.store.put(storage[1], storage[2], request.body)
                return Answer()
            if not self._knows(request):
                return Answer({"errors": [{"message": "user is not logged in"}]}, 401)
            if stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", request.path):
                self.store.stream(stream[1], request.fields())
                return Answer({"exitcode": None, "limits": {}})
            if operation not in OPERATIONS:
                return Answer({"errors": [{"message": f"no {named.path} here"}]}, 404)
            return Answer({"data": OPERATIONS[operation](self.store, asked.get("variables") or {})})

    def _knows(self, request: Request) -> bool:
        kind, _, given = (request.headers.get("Authorization") or "").partition(" ")
        return kind == "Basic" and b64decode(given).decode() == f"api:{self.key}"


@contextmanager
def a_wandb(folder: Path) -> Iterator[WandbServer]:
    """A W&B without runs, and the client's settings turned to it, here and in processes started."""
    import wandb

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        server = WandbServer()
        for name, value in server.env.items():
            patch.setenv(name, value)
        for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(folder / "wandb_home"))
        patch.setenv("NETRC", str(folder / "netrc"))
        server.start()
        wandb.teardown()  # the client's process holds connections and settings of earlier tests
        yield server
        wandb.teardown()
        server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    with a_wandb(tmp_path) as server:
        yield server
