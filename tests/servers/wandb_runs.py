"""What a local W&B keeps: runs as dictionaries, the rows of their histories, and files."""

from __future__ import annotations

import base64
import json
import threading
from datetime import datetime, timezone
from typing import Any

ENTITY = "tester"
HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"

Run = dict[str, Any]
Row = dict[str, Any]


class RunStore:
    """Runs by id, with what was uploaded for each; every method may be called from any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.artifacts: list[dict[str, Any]] = []

    def upsert(self, variables: dict[str, Any]) -> tuple[Run, bool]:
        """A run, made where there is none, with what a client says of it; whether it is new."""
        name = variables.get("name") or variables["id"]
        is_new = name not in self.runs
        run = self.runs.setdefault(
            name, _new_run(name, variables.get("project") or "uncategorized")
        )
        run["config"].update(json.loads(variables.get("config") or "{}"))
        for given, field in (
            ("groupName", "group"),
            ("tags", "tags"),
            ("displayName", "displayName"),
            ("jobType", "jobType"),
        ):
            run[field] = variables.get(given) or run[field]
        return run, is_new

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Take a piece of a run's files, each at its line; at the end, the run's state."""
        run = self.runs[name]
        run["heartbeatAt"] = now()
        for file, part in (body.get("files") or {}).items():
            lines, start = part.get("content", []), part.get("offset", 0)
            if file == HISTORY:
                rows = [json.loads(line) for line in lines]
                run["history"][start : start + len(rows)] = rows
            elif file == SUMMARY and lines:
                run["summary"] = json.loads(lines[-1])
        if body.get("complete"):
            run["state"] = "finished" if body.get("exitcode") == 0 else "failed"

    def rows(self, name: str, low: int = 0, high: float = float("inf")) -> list[Row]:
        """Rows of a history with ``low <= _step < high``."""
        return [row for row in self.runs[name]["history"] if low <= row["_step"] < high]

    def put(self, owner: str, name: str, data: bytes) -> None:
        """Keep a file of a run or of an artifact."""
        self.files.setdefault(owner, {})[name] = data


def now() -> str:
    """As W&B writes a time."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _new_run(name: str, project: str) -> Run:
    return {
        "name": name,
        "displayName": name,
        "project": project,
        "group": None,
        "jobType": None,
        "tags": [],
        "config": {},
        "summary": {},
        "history": [],
        "state": "running",
        "createdAt": now(),
        "heartbeatAt": now(),
    }


def history_keys(run: Run) -> dict[str, Any]:
    """What the API says of a history: its keys, how often each is there, and the last step."""
    keys: dict[str, Any] = {}
    for row in run["history"]:
        for key, value in row.items():
            counts = [{"type": "number", "count": 0}]
            new = {"typeCounts": counts, "monotonic": False, "previousValue": value}
            keys.setdefault(key, new)["typeCounts"][0]["count"] += 1
    last = max((row["_step"] for row in run["history"]), default=-1)
    return {"sets": [], "keys": keys, "lastStep": last}


def node(run: Run) -> dict[str, Any]:
    """A run as GraphQL gives it."""
    kept = ("name", "displayName", "state", "group", "jobType", "tags", "createdAt", "heartbeatAt")
    return {
        **{key: run[key] for key in kept},
        "__typename": "Run",
        "id": base64.b64encode(f"Run:v1:{run['name']}".encode()).decode(),
        "projectId": "1",
        "project": {"name": run["project"], "entity": {"name": ENTITY}},
        "config": json.dumps(run["config"]),
        "summaryMetrics": json.dumps(run["summary"]),
        "systemMetrics": "{}",
        "historyKeys": history_keys(run),
        "historyLineCount": len(run["history"]),
        "eventsLineCount": 0,
        "logLineCount": 0,
        "readOnly": False,
        "sweepName": None,
        "commit": None,
        "description": None,
        "notes": None,
        "user": {"name": ENTITY, "username": ENTITY},
    }
