"""Versions of a folder's files: a manifest names them with their checksums, and the last two stay.

A file never changes once a manifest names it. A process that is killed leaves the newest version
or the one before it complete.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from custom.system.files import sync, write_json

NEWEST, BEFORE, NEXT = "manifest.json", "manifest-before.json", "manifest-next.json"
PART = 2**24  # bytes that are read at once
Files = dict[str, str]  # name → SHA-256


def exists(folder: Path) -> bool:
    """Whether there is any version."""
    return any((folder / name).is_file() for name in (NEWEST, BEFORE))


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def commit(folder: Path, files: Files) -> None:
    """Make these files the newest version; delete what the last two versions do not have.

    :raises OSError: the versions are as they were
    """
    newest, following = folder / NEWEST, folder / NEXT
    write_json(following, files)
    if newest.exists():
        newest.replace(folder / BEFORE)
    following.replace(newest)
    sync(folder)  # before files of an older version are deleted
    sweep(folder)


def sweep(folder: Path) -> None:
    """Delete what the last two versions do not have, e.g. files of a save that failed."""
    try:
        kept = {NEWEST, BEFORE, *_read(folder / NEWEST), *_read(folder / BEFORE)}
    except ValueError:  # a damaged manifest: it is unknown what it has
        return
    for path in folder.iterdir():
        if path.name not in kept:
            with suppress(OSError):  # not a file of ours
                path.unlink()


def sound_version(folder: Path, adopt: bool) -> tuple[Files, str]:
    """The newest version whose files are as they were written.

    :param adopt: it becomes the newest one
    :return: and what is wrong with a newer one; empty: nothing
    :raises ValueError: there is none
    """
    problems = []
    for name in (NEWEST, BEFORE):
        try:
            files = _read(folder / name)
            _check(folder, files)
        except (ValueError, FileNotFoundError) as error:
            problems.append(str(error))
            continue
        if name == BEFORE and adopt:
            (folder / BEFORE).replace(folder / NEWEST)
        return files, "; ".join(problems)
    raise ValueError("; ".join(problems))


def _read(manifest: Path) -> Files:
    if not manifest.is_file():
        return {}
    content = json.loads(manifest.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{manifest.name} holds no names of files")
    return {str(name): str(digest) for name, digest in content.items()}


def _check(folder: Path, files: Files) -> None:
    if not files:
        raise ValueError("there is no manifest")
    for name, digest in files.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise ValueError(f"{name} is missing")
        if checksum(path) != digest:
            raise ValueError(f"{name} has changed since it was written")
