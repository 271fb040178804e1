"""The GraphQL operations of W&B that its client asks for, by their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.servers import wandb_artifacts
from tests.servers.wandb_filters import matches, value_of
from tests.servers.wandb_runs import ENTITY, Run, history_keys, node

if TYPE_CHECKING:
    from tests.servers.wandb_server import WandbServer

Variables = dict[str, Any]
Data = dict[str, Any]


def viewer(server: WandbServer, variables: Variables) -> Data:
    """Whose key it is."""
    said = {"id": "1", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "flags": "{}"}
    teams = {"edges": [{"node": {"name": ENTITY}}]}
    return {"viewer": {**said, "email": "t@example.org", "teams": teams, "apiKeys": {"edges": []}}}


def features(server: WandbServer, variables: Variables) -> Data:
    """What newer servers can: nothing of it."""
    return {"serverInfo": {"features": []}}


def upsert(server: WandbServer, variables: Variables) -> Data:
    """Make or change a run."""
    run, is_new = server.store.upsert(variables)
    return {"upsertBucket": {"bucket": node(run), "inserted": is_new}}


def resume_status(server: WandbServer, variables: Variables) -> Data:
    """How far a run is that a client goes on with."""
    run = server.store.runs.get(variables["name"])
    project = {"id": "1", "name": variables["project"], "entity": {"id": "1", "name": ENTITY}}
    if run is None:
        return {"model": {**project, "bucket": None}}
    tail = json.dumps([json.dumps(row) for row in run["history"][-1:]])
    rest = {"historyTail": tail, "eventsTail": "[]", "wandbConfig": '{"t": 1}'}
    return {"model": {**project, "bucket": {**node(run), **rest}}}


def upload_urls(server: WandbServer, variables: Variables) -> Data:
    """Where a run's files go."""
    owner = variables["run"]
    files = [{"name": name, "uploadUrl": server.url_of(owner, name)} for name in variables["files"]]
    return {"createRunFiles": {"runID": owner, "uploadHeaders": [], "files": files}}


def project_id(server: WandbServer, variables: Variables) -> Data:
    """A project's number."""
    return {"project": {"internalId": "1", "id": "1"}}


def runs(server: WandbServer, variables: Variables) -> Data:
    """A page of the runs of a project."""
    query = json.loads(variables.get("filters") or "{}")
    kept = server.store.runs.values()
    found = [run for run in kept if run["project"] == variables["project"] and matches(run, query)]
    order = variables.get("order") or "+created_at"
    found.sort(key=lambda run: str(value_of(run, order[1:])), reverse=order.startswith("-"))
    start = int(variables.get("cursor") or 0)
    page = found[start : start + (variables.get("perPage") or 50)]
    edges = [{"node": node(r), "cursor": str(start + i)} for i, r in enumerate(page, start=1)]
    end = start + len(page)
    info = {"endCursor": str(end), "hasNextPage": end < len(found)}
    whole = {"internalId": "1", "runCount": len(found), "readOnly": False}
    return {"project": {**whole, "runs": {"edges": edges, "pageInfo": info}}}


def run_of(server: WandbServer, variables: Variables) -> Run | None:
    """The run that an operation is about."""
    name = variables.get("name") or variables.get("run") or variables.get("runName")
    return server.store.runs.get(str(name))


def run(server: WandbServer, variables: Variables) -> Data:
    """A run, but not its history."""
    found = run_of(server, variables)
    return _of_project(found and {**node(found), "historyKeys": history_keys(found)})


def parquet_history(server: WandbServer, variables: Variables) -> Data:
    """A history that no job has yet written into files: all of it is live."""
    found, keys = run_of(server, variables), variables["liveKeys"]
    rows = found["history"] if found else []
    live = [{key: row[key] for key in keys if key in row} for row in rows]
    return _of_project({"parquetHistory": {"liveData": live, "parquetUrls": []}})


def history_page(server: WandbServer, variables: Variables) -> Data:
    """Whole rows between two steps."""
    low, high = variables["minStep"], variables["maxStep"]
    rows = server.store.rows(variables["run"], low, high)[: variables["pageSize"]]
    return _of_project({"history": [json.dumps(row) for row in rows]})


def keys_page(server: WandbServer, variables: Variables) -> Data:
    """Some columns from one step to another, which counts, of the rows that have them all."""
    spec = json.loads(variables["spec"])
    low, last, keys = spec.get("minStep", 0), spec.get("maxStep", float("inf")), spec["keys"]
    rows = server.store.rows(variables["run"], low, last + 1)
    kept = [{key: row[key] for key in keys} for row in rows if all(key in row for key in keys)]
    return _of_project({"sampledHistory": [kept]})


def _of_project(run: Data | None) -> Data:
    return {"project": {"internalId": "1", "run": run}}


OPERATIONS: dict[str, Callable[[WandbServer, Variables], Data]] = {
    "Viewer": viewer,
    "GetViewer": viewer,
    "GetDefaultEntity": viewer,
    "ServerFeaturesQuery": features,
    "UpsertBucket": upsert,
    "RunResumeStatus": resume_status,
    "CreateRunFiles": upload_urls,
    "ProjectInternalId": project_id,
    "Runs": runs,
    "Run": run,
    "RunState": run,
    "RunHistoryKeys": run,
    "RunParquetHistory": parquet_history,
    "HistoryPage": history_page,
    "SampledHistoryPage": keys_page,
    "CreateArtifact": wandb_artifacts.create,
    "CreateArtifactManifest": wandb_artifacts.manifest,
    "CreateArtifactFiles": wandb_artifacts.files,
    "CommitArtifact": wandb_artifacts.commit,
    "ArtifactByID": wandb_artifacts.by_id,
}
