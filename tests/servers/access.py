"""Whose request it is, what it may see and what it may change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers.store import RefusedError, Repository
from tests.servers.wire import Request

if TYPE_CHECKING:
    from tests.servers.hub import Hub


def asker(hub: Hub, request: Request) -> str:
    """Who asks; "" without a token."""
    given = request.headers.get("Authorization")
    if given is None:
        return ""
    if given != f"Bearer {hub.token}":
        raise RefusedError(401, "Invalid credentials in Authorization header")
    return hub.user


def visible(hub: Hub, request: Request, repo_id: str) -> Repository:
    """A repository, where it is there and the asker may know of it."""
    user, repo = asker(hub, request), hub.store.repositories.get(repo_id)
    if repo is None or (repo["private"] and user != repo_id.split("/")[0]):
        # The real Hub names no code to those without a token; its client then goes by https.
        raise RefusedError(404 if user else 401, "Repository not found", "RepoNotFound")
    return repo


def may_write(hub: Hub, request: Request, repo_id: str) -> None:
    """Refuse who may not change a repository."""
    user = asker(hub, request)
    if not user:
        raise RefusedError(401, "Invalid username or password.")
    if hub.role == "read" or user != repo_id.split("/")[0]:
        raise RefusedError(403, f"You don't have the rights to write to {repo_id}")
