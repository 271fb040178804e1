"""A PostgreSQL of its own for a test: Debian's programs on a free port of this machine."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = Path("/usr/lib/postgresql")


@contextmanager
def postgresql() -> Iterator[str]:
    """The address, with its password, of an empty database that is gone at the end."""
    # Not in pytest's folder, which each new session of pytest closes to other users.
    with tempfile.TemporaryDirectory() as folder:
        yield from _serve(Path(folder))


def _serve(folder: Path) -> Iterator[str]:
    programs = max(PROGRAMS.glob("*/bin"), key=lambda path: int(path.parent.name))
    user = "postgres" if os.geteuid() == 0 else ""  # it does not start for root
    if user:
        shutil.chown(folder, user)
    password, port = secrets.token_hex(8), _free_port()
    (folder / "password").write_text(password)
    as_user = ["runuser", "-u", user, "--"] if user else []

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    data = str(folder / "data")
    if user:
        shutil.chown(folder / "password", user)
    own = ["--auth=scram-sha-256", "-U", "tuner", f"--pwfile={folder / 'password'}"]
    call("initdb", "-D", data, "-E", "UTF8", *own)
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
    call("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://tuner:{password}@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
