"""The storage that the client uploads large files to by Xet: a folder, in place of a server.

The client's own library (``hf_xet``) writes to an address ``local://FOLDER`` and leaves there what
it would send: chunks, and a description of each file with its SHA-256 and its Xet name.
"""

from __future__ import annotations

import shutil
import struct
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import hf_xet

HEADER, ENTRY = 48, 48  # bytes
WITH_VERIFICATION, WITH_METADATA = 1 << 31, 1 << 30  # what follows a file's description
LAST = b"\xff" * 32


class XetFolder:
    """What has come by Xet; a folder for each time a client may write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def permission(self) -> dict[str, str]:
        """Where a client may write next, as the headers of the answer name it."""
        folder = self.root / f"written-{uuid.uuid4().hex}"
        folder.mkdir()
        return {
            "X-Xet-Cas-Url": f"local://{folder}",
            "X-Xet-Access-Token": "xet",
            "X-Xet-Token-Expiration": str(int(time.time()) + 3600),
        }

    def get(self, sha256: str, size: int) -> bytes | None:
        """The bytes of a file that has come whole."""
        for folder in self.root.glob("written-*"):
            for shard in folder.glob("xet/xorbs/shards/*.mdb"):
                names = dict(described(shard.read_bytes()))
                if sha256 in names:
                    return self._read(folder, names[sha256], size)
        return None

    def _read(self, written: Path, xet_name: str, size: int) -> bytes:
        # The writer holds a lock on its folder for as long as its session lives: read a copy.
        copy, out = self.root / f"read-{uuid.uuid4().hex}", self.root / uuid.uuid4().hex
        shutil.copytree(written, copy)
        group = hf_xet.XetSession().new_file_download_group(
            endpoint=f"local://{copy}", token="xet", token_expiry_unix_secs=int(time.time()) + 3600
        )
        with group:
            group.start_download_file(hf_xet.XetFileInfo(xet_name, size), str(out))
        data = out.read_bytes()
        shutil.rmtree(copy)
        out.unlink()
        return data


def described(shard: bytes) -> Iterator[tuple[str, str]]:
    """SHA-256 and Xet name of each file in a shard (the MDB format, version 2)."""
    at = HEADER
    while shard[at : at + 32] != LAST:
        xet_name = _name(shard[at : at + 32])
        flags, entries = struct.unpack("<II", shard[at + 32 : at + 40])
        at += HEADER + ENTRY * entries * (2 if flags & WITH_VERIFICATION else 1)
        if flags & WITH_METADATA:
            yield _name(shard[at : at + 32]), xet_name
            at += ENTRY


def _name(raw: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))
