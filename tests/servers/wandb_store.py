"""What a local W&B keeps, and the GraphQL operations that its client asks for, by their names."""

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

ENTITY = "tester"
HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"

Data = dict[str, Any]


class RunStore:
    """Runs by id in the order of their creation, the rows of their histories, and files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.RLock()
        self.runs: dict[str, Data] = {}
        self.files: dict[str, dict[str, bytes]] = {}

    def put(self, owner: str, name: str, data: bytes) -> None:
        self.files.setdefault(owner, {})[name] = data

    def stream(self, name: str, body: Data) -> None:
        run = self.runs[name]
        for file, part in (body.get("files") or {}).items():
            lines, start = part.get("content", []), part.get("offset", 0)
            if file == HISTORY:
                rows = [json.loads(line) for line in lines]
                run["history"][start : start + len(rows)] = rows
            elif file == SUMMARY and lines:
                run["summary"] = json.loads(lines[-1])
        if body.get("complete"):
            run["state"] = "finished" if body.get("exitcode") == 0 else "failed"

    def rows(self, name: str, low: int, high: float) -> list[Data]:
        return [row for row in self.runs[name]["history"] if low <= row["_step"] < high]

    def place(self, owner: str, name: str) -> Data:
        return {"name": name, "uploadUrl": f"{self.url}/storage/{owner}/{name}"}


def viewer(store: RunStore, variables: Data) -> Data:
    said = {"id": "1", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "flags": "{}"}
    teams = {"edges": [{"node": {"name": ENTITY}}]}
    return {"viewer": {**said, "email": "t@example.org", "teams": teams, "apiKeys": {"edges": []}}}


def features(store: RunStore, variables: Data) -> Data:
    return {"serverInfo": {"features": []}}


def upsert(store: RunStore, variables: Data) -> Data:
    name = variables.get("name") or variables["id"]
    is_new = name not in store.runs
    new = {"config": {}, "summary": {}, "history": [], "state": "running"}
    new["createdAt"] = "2026-01-02T03:04:05Z"
    run = store.runs.setdefault(name, {"name": name, "project": variables.get("project"), **new})
    run["config"].update(json.loads(variables.get("config") or "{}"))
    fields = {"groupName": "group", "tags": "tags", "displayName": "displayName"}
    for given, field in {**fields, "jobType": "jobType"}.items():
        run[field] = variables.get(given) or run.get(field)
    return {"upsertBucket": {"bucket": node(run), "inserted": is_new}}


def resume_status(store: RunStore, variables: Data) -> Data:
    run = store.runs.get(variables["name"])
    project = {"id": "1", "name": variables["project"], "entity": {"id": "1", "name": ENTITY}}
    if run is None:
        return {"model": {**project, "bucket": None}}
    tail = json.dumps([json.dumps(row) for row in run["history"][-1:]])
    rest = {"historyTail": tail, "eventsTail": "[]", "wandbConfig": '{"t": 1}'}
    return {"model": {**project, "bucket": {**node(run), **rest}}}


def upload_urls(store: RunStore, variables: Data) -> Data:
    files = [store.place(variables["run"], name) for name in variables["files"]]
    return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}


def runs(store: RunStore, variables: Data) -> Data:
    def has(run: Data, name: str, wanted: Any) -> bool:
        kept: Data = run["config"].get(name.removeprefix("config."), {})
        return bool(kept.get("value") == wanted)

    assert variables["order"] == "+created_at"
    wanted = json.loads(variables["filters"])
    found = [
        run
        for run in store.runs.values()
        if run["project"] == variables["project"] and all(has(run, *one) for one in wanted.items())
    ]
    edges = [{"node": node(run), "cursor": "1"} for run in found]
    info = {"endCursor": "1", "hasNextPage": False}
    whole = {"internalId": "1", "runCount": len(found), "readOnly": False}
    return {"project": {**whole, "runs": {"edges": edges, "pageInfo": info}}}


def run(store: RunStore, variables: Data) -> Data:
    found = store.runs.get(variables.get("name") or variables.get("run") or "")
    return of_project(found and node(found))


def parquet_history(store: RunStore, variables: Data) -> Data:
    """A history that no job has yet written into files."""
    return of_project({"parquetHistory": {"liveData": [], "parquetUrls": []}})


def history_page(store: RunStore, variables: Data) -> Data:
    rows = store.rows(variables["run"], variables["minStep"], variables["maxStep"])
    return of_project({"history": [json.dumps(row) for row in rows[: variables["pageSize"]]]})


def keys_page(store: RunStore, variables: Data) -> Data:
    """Some columns from one step to another, which counts, of the rows that have them all."""
    spec = json.loads(variables["spec"])
    low, last, keys = spec.get("minStep", 0), spec.get("maxStep", float("inf")), spec["keys"]
    rows = store.rows(variables["run"], low, last + 1)
    kept = [{key: row[key] for key in keys} for row in rows if all(key in row for key in keys)]
    return of_project({"sampledHistory": [kept]})


def of_project(found: Data | None) -> Data:
    return {"project": {"internalId": "1", "run": found}}


def node(run: Data) -> Data:
    kept = ("name", "displayName", "state", "group", "jobType", "tags", "createdAt")
    keys: Data = {}
    for row in run["history"]:
        for key, value in row.items():
            counts = [{"type": "number", "count": 0}]
            new = {"typeCounts": counts, "monotonic": False, "previousValue": value}
            keys.setdefault(key, new)["typeCounts"][0]["count"] += 1
    last = max((row["_step"] for row in run["history"]), default=-1)
    said = {key: run[key] for key in kept} | {"__typename": "Run", "projectId": "1"}
    said |= dict.fromkeys(("sweepName", "commit", "description", "notes"))
    said |= {"id": base64.b64encode(f"Run:v1:{run['name']}".encode()).decode()}
    said |= {"project": {"name": run["project"], "entity": {"name": ENTITY}}}
    said |= {"config": json.dumps(run["config"]), "summaryMetrics": json.dumps(run["summary"])}
    said |= {"historyKeys": {"sets": [], "keys": keys, "lastStep": last}, "systemMetrics": "{}"}
    said |= {"historyLineCount": len(run["history"]), "eventsLineCount": 0, "logLineCount": 0}
    said |= {"heartbeatAt": run["createdAt"], "user": {"name": ENTITY, "username": ENTITY}}
    return said | {"readOnly": False}


OPERATIONS: dict[str, Callable[[RunStore, Data], Data]] = {
    "Viewer": viewer,
    "GetDefaultEntity": viewer,
    "ServerFeaturesQuery": features,
    "UpsertBucket": upsert,
    "RunResumeStatus": resume_status,
    "CreateRunFiles": upload_urls,
    "Runs": runs,
    "Run": run,
    "RunHistoryKeys": run,
    "RunParquetHistory": parquet_history,
    "HistoryPage": history_page,
    "SampledHistoryPage": keys_page,
}
