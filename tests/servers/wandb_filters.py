"""Which runs a client asks for: those with some values in their configuration."""

from __future__ import annotations

from typing import Any

from tests.servers.wandb_runs import Run


def matches(run: Run, query: dict[str, Any]) -> bool:
    """Whether a run is one of those asked for."""
    return all(value_of(run, key) == wanted for key, wanted in query.items())


def value_of(run: Run, key: str) -> Any:
    """What stands at ``config.<key>``, or a field of the run."""
    head, _, rest = key.partition(".")
    if head != "config":
        return run.get({"created_at": "createdAt"}.get(head, head))
    return (run["config"].get(rest) or {}).get("value")
