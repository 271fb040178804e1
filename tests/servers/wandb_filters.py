"""Which runs a client asks for: the part of MongoDB's queries that W&B's API takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.servers.wandb_runs import Run

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda got, wanted: wanted in got,
    "$ne": lambda got, wanted: wanted not in got,
    "$in": lambda got, wanted: any(value in wanted for value in got),
    "$nin": lambda got, wanted: not any(value in wanted for value in got),
    "$gt": lambda got, wanted: any(value is not None and value > wanted for value in got),
    "$gte": lambda got, wanted: any(value is not None and value >= wanted for value in got),
    "$lt": lambda got, wanted: any(value is not None and value < wanted for value in got),
    "$lte": lambda got, wanted: any(value is not None and value <= wanted for value in got),
    "$exists": lambda got, wanted: (got != [None]) == wanted,
    "$regex": lambda got, wanted: any(re.search(wanted, str(value)) for value in got),
}
JOINED: dict[str, Callable[[list[bool]], bool]] = {
    "$and": all,
    "$or": any,
    "$nor": lambda found: not any(found),
}


def matches(run: Run, query: dict[str, Any]) -> bool:
    """Whether a run is one of those asked for."""
    return all(_holds(run, key, wanted) for key, wanted in query.items())


def _holds(run: Run, key: str, wanted: Any) -> bool:
    if key in JOINED:
        return JOINED[key]([matches(run, query) for query in wanted])
    value = value_of(run, key)
    values = value if isinstance(value, list) else [value]
    conditions = wanted if isinstance(wanted, dict) else {"$eq": wanted}
    return all(OPERATORS[name](values, operand) for name, operand in conditions.items())


def value_of(run: Run, key: str) -> Any:
    """What stands at ``config.<key>``, ``summary_metrics.<key>`` or a field of the run."""
    head, _, rest = key.partition(".")
    if head == "summary_metrics":
        return run["summary"].get(rest)
    if head != "config":
        return run.get({"display_name": "displayName", "created_at": "createdAt"}.get(head, head))
    value: Any = run["config"]
    for part in rest.removesuffix(".value").split("."):
        value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, dict) and set(value) == {"value"}:
            value = value["value"]
    return value
