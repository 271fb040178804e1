"""The file that W&B's client writes before it uploads: the records of one stretch of a training.

``wandb sync`` sends all of a file's rows and puts them behind those that the server has; where a
part of them had arrived, that part would be there twice. So a file is made without them.

The format is LevelDB's log: a header, then blocks of 32 KiB with chunks of checksum, length and
kind; a record is one chunk or several. A record is one of `wandb.proto`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HEADER = 7  # bytes: ":W&B", a magic number and a version
BLOCK = 32 * 1024
CHUNK = struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[bytes]:
    """The records of a file; the last one may be cut, where the client was killed."""
    raw, at, parts = file.read_bytes(), HEADER, b""
    while at + CHUNK.size <= len(raw):
        left = BLOCK - at % BLOCK
        if left < CHUNK.size:
            at += left
            continue
        _, size, kind = CHUNK.unpack_from(raw, at)
        at += CHUNK.size
        if kind == 0 or at + size > len(raw):
            return
        parts += raw[at : at + size]
        at += size
        if kind in (FULL, LAST):
            yield parts
            parts = b""


def write(file: Path, header: bytes, kept: Iterator[bytes]) -> None:
    """Write a file of records."""
    out = bytearray(header)
    for record in kept:
        is_first = True
        while is_first or record:
            left = BLOCK - len(out) % BLOCK
            if left < CHUNK.size:
                out += bytes(left)
                left = BLOCK
            part, record = record[: left - CHUNK.size], record[left - CHUNK.size :]
            kind = (FIRST if record else FULL) if is_first else (MIDDLE if record else LAST)
            checksum = zlib.crc32(bytes([kind]) + part)
            out += CHUNK.pack(checksum, len(part), kind) + part
            is_first = False
    file.write_bytes(out)


def without_rows(file: Path, to: Path, arrived: Callable[[int], bool]) -> None:
    """Copy a file without the rows of a history that have arrived.

    :param arrived: whether the server has the row with this ``_step``
    """
    from wandb.proto import wandb_internal_pb2

    def is_kept(raw: bytes) -> bool:
        record: Any = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # made at run time
        record.ParseFromString(raw)
        is_row = record.WhichOneof("record_type") == "history"
        return not (is_row and arrived(record.history.step.num))

    write(to, file.read_bytes()[:HEADER], (raw for raw in records(file) if is_kept(raw)))
