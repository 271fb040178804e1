"""Files and folders that are there whole or not at all, whatever breaks their writing off."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A name to write to; the file at `path` is there whole or not at all.

    Temporary file, fsync, rename. The name keeps the ending, which tells some writers the format.
    """
    partial = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextmanager
def atomic_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """As `atomic_path`, opened."""
    with atomic_path(path) as partial, partial.open(mode) as file:
        yield file


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy_file(source: Path, path: Path) -> None:
    """Copy a file whole or not at all."""
    with atomic_file(path) as file:
        file.write(source.read_bytes())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with atomic_file(path, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of another one once it is whole."""
    partial, old = _beside(folder)
    restore(folder)
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        _sync_folder(partial)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        _sync_folder(folder.parent)
    except BaseException:
        restore(folder)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def restore(folder: Path) -> None:
    """Bring back what was broken off between the two renames of `replaced`."""
    _, old = _beside(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)


def is_there(folder: Path) -> bool:
    """Whether a folder of `replaced` is there, or can be brought back."""
    return folder.exists() or _beside(folder)[1].exists()


def remove(folder: Path) -> None:
    """Remove a folder, and what was broken off beside it."""
    for path in (folder, *_beside(folder)):
        shutil.rmtree(path, ignore_errors=True)


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where a new one is written, and where the old one waits meanwhile."""
    return folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.old")
