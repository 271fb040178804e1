"""How W&B's client uploads an artifact: named, its files, its manifest, then committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.servers.wandb_runs import now

if TYPE_CHECKING:
    from tests.servers.wandb_server import WandbServer


def create(server: WandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    """An artifact, whose files come next."""
    server.store.artifacts.append(variables["input"])
    number = f"artifact-{len(server.store.artifacts)}"
    sequence = {"latestArtifact": {"id": number}}
    made = {"id": number, "state": "PENDING", "artifactSequence": sequence}
    return {"createArtifact": {"artifact": made}}


def manifest(server: WandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    """Where the list of an artifact's files goes."""
    number = variables["artifactID"]
    file = {"id": "1", "uploadUrl": server.url_of(number, variables["name"]), "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": "1", "file": file}}}


def files(server: WandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    """Where an artifact's files go."""
    edges = [
        {
            "node": {
                "storagePath": file["name"],
                "uploadUrl": server.url_of(file["artifactID"], file["name"]),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }
        }
        for file in variables["input"]["artifactFiles"]
    ]
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def commit(server: WandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    """The artifact is whole."""
    return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": ""}}}


def by_id(server: WandbServer, variables: dict[str, Any]) -> dict[str, Any]:
    """A committed artifact."""
    number = variables["id"]
    made = server.store.artifacts[int(number.rpartition("-")[2]) - 1]
    owner = {"id": "1", "internalId": "1", "name": made["projectName"]}
    project = {**owner, "entity": {"name": made["entityName"]}}
    name = (made.get("artifactCollectionNames") or ["model"])[0]
    sequence = {"__typename": "ArtifactSequence", "name": name, "project": project}
    known = {
        "__typename": "Artifact",
        "id": number,
        "artifactSequence": sequence,
        "versionIndex": 0,
        "artifactType": {"name": made["artifactTypeName"]},
        "metadata": "{}",
        "tags": [],
        "state": "COMMITTED",
        "size": 1,
        "ttlDurationSeconds": -2,  # no limit
        "ttlIsInherited": True,
        "digest": made["digest"],
        "fileCount": 1,
        "createdAt": now(),
        "aliases": [],
    }
    empty = ("description", "historyStep", "commitHash")
    return {"artifact": {**dict.fromkeys((*empty, "updatedAt", "digestAlgorithm")), **known}}
