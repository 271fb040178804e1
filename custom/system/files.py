"""Atomic file and folder writes, and file locks."""

import errno
import fcntl
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from custom.system.console import say

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # of file systems without locks
POLL = 0.1  # seconds between two tries to lock


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name to write to; the file takes its place at `path` once it is complete.

    The name keeps the ending, which tells some writers the format.
    """
    partial = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield partial
        sync(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def remove_partial(folder: Path) -> None:
    """Remove the temporary files of killed processes; no other process writes to the folder."""
    for path in folder.glob(f".{'[0-9a-f]' * 8}.*"):
        path.unlink()


@contextmanager
def atomic_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """As `atomic_path`, opened."""
    with atomic_path(path) as partial, partial.open(mode) as file:
        yield file


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    with atomic_file(path, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; it takes the place of `folder` once it is complete.

    One process at a time may write `folder`.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sync(path: Path) -> None:
    """Write a file or the entries of a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(path: Path, seconds: float = math.inf) -> IO[str] | None:
    """Lock a file, which is created; closing it or the end of the process unlocks it.

    :param seconds: how long to wait for another process
    :return: the open file; None: still in use by another process
    """
    file = path.open("a+")  # NFS locks only what is open for writing
    end = time.monotonic() + seconds
    while not try_lock(file):
        if time.monotonic() >= end:
            file.close()
            return None
        time.sleep(POLL)
    return file


@cache
def _warn() -> None:
    say("this file system has no locks; let one process at a time use a run or a study")


def try_lock(file: IO[Any], shared: bool = False) -> bool:
    """Lock an open file if no other process has locked it.

    On a file system without locks this always succeeds, with a line that says so.

    :param shared: with others that lock it shared
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        _warn()
    return True
