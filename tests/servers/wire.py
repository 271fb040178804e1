"""HTTP for the local Hub: requests in, answers out, and the faults that a test asks for."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Any
    body: bytes
    base: str

    def fields(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass
class Answer:
    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    method: str
    pattern: str
    answer: Answer

    def takes(self, request: Request) -> bool:
        return self.method == request.method and bool(re.search(self.pattern, request.path))


class Server(ThreadingHTTPServer):
    """A thread for each connection, which ends where there is no answer."""

    daemon_threads = True

    def __init__(self, port: int, answer: Callable[[Request], Answer | None]) -> None:
        self.answer = answer
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no fault."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else head and body of each answer are 40 ms apart
    server: Server

    def log_message(self, format: str, *args: Any) -> None: ...

    def _serve(self) -> None:
        url = urlsplit(self.path)
        base = f"http://{self.headers.get('Host')}"
        query = parse_qs(url.query)
        request = Request(self.command, url.path, query, self.headers, self._body(), base)
        answer = self.server.answer(request)
        if answer is None:
            self.close_connection = True
        else:
            self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base's names

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, answer: Answer) -> None:
        raw = isinstance(answer.body, bytes)
        body = answer.body if raw else json.dumps(answer.body).encode()
        content = "application/octet-stream" if raw else "application/json"
        headers = {"Content-Type": content, "Content-Length": str(len(body)), **answer.headers}
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
