"""Which address of the Hub's is answered by what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.servers import reading, writing
from tests.servers.store import RefusedError
from tests.servers.wire import Answer, Request

if TYPE_CHECKING:
    from tests.servers.hub import Hub

MODEL = r"/api/models/([^/]+/[^/]+)"
ROUTES = (
    ("GET", "/api/whoami-v2", reading.whoami),
    ("POST", "/api/validate-yaml", reading.validate_card),
    ("POST", "/api/repos/create", writing.create),
    ("DELETE", "/api/repos/delete", writing.delete),
    ("GET", "/api/models", reading.models),
    ("GET", MODEL + "(?:/revision/([^/]+))?", reading.model),
    ("GET", MODEL + "/tree/([^/]+)(?:/(.+))?", reading.tree),
    ("POST", MODEL + "/paths-info/([^/]+)", reading.paths),
    ("GET", MODEL + "/refs", reading.refs),
    ("GET", MODEL + "/commits/([^/]+)", reading.commits),
    ("POST", MODEL + "/preupload/([^/]+)", writing.preupload),
    ("POST", MODEL + "/commit/([^/]+)", writing.commit),
    ("GET", MODEL + "/xet-write-token/[^/]+", writing.xet_permission),
    ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", writing.lfs_batch),
    ("PUT", "/lfs/([0-9a-f]{64})", writing.lfs_upload),
    ("POST", "/lfs/([0-9a-f]{64})/verify", writing.lfs_verify),
    ("GET", "/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", reading.resolve),
)


def route(hub: Hub, request: Request) -> Answer:
    """The answer to a request.

    :raises RefusedError: the Hub says no
    """
    for method, pattern, act in ROUTES:
        match = re.fullmatch(pattern, request.path)
        if match and method == request.method.replace("HEAD", "GET"):
            with hub.store.lock:
                return act(hub, request, *(unquote(part or "") for part in match.groups()))
    raise RefusedError(404, f"there is no {request.method} {request.path} here")
