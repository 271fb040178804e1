"""`make setup`: make .venv and install the tested packages into it.

Needs only the standard library, and starts on Python 3.6, to say there that this is too old.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Sequence

try:
    import fcntl
except ImportError:
    sys.exit(
        "error: sb3-atari-dqn needs Linux, macOS or WSL: this system has no file locks of POSIX"
    )

OLDEST, NEWEST = (3, 10), (3, 13)
INPUTS = ("pyproject.toml", "constraints.txt")
PYTHON = Path(".venv", "bin", "python")
STAMP = Path(".venv", ".ready")

# Run by the interpreter in .venv: is it of use, or does .venv have to be made anew?
PROBE = "import sys, pip; sys.exit(not {} <= sys.version_info[:2] <= {})".format(OLDEST, NEWEST)


def is_ready(root: Path) -> bool:
    """Whether .venv has what pyproject.toml and constraints.txt ask for."""
    if not os.access(str(root / PYTHON), os.X_OK) or not (root / STAMP).exists():
        return False
    stamped = (root / STAMP).stat().st_mtime_ns
    return all((root / name).stat().st_mtime_ns <= stamped for name in INPUTS)


def python_error(name: str, version: Sequence[int]) -> Optional[str]:
    """Why the Python of this name and version cannot make .venv, if so."""
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        return "{} is {}; sb3-atari-dqn needs 3.10 to 3.13: make PYTHON=python3.12 setup".format(
            name, ".".join(map(str, version[:3]))
        )
    return None


def is_usable(root: Path) -> bool:
    """Whether .venv has pip and a supported Python."""
    try:
        probe = [str(root / PYTHON), "-c", PROBE]
        return subprocess.call(probe, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Let one setup run at a time; the lock ends with the process, however that ends."""
    with (root / INPUTS[0]).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another make that installs into .venv", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fail(message: str, status: int) -> None:
    """End with one line."""
    print("error: " + message, file=sys.stderr)
    sys.exit(status)


def output_of_failure(root: Path, *command: str) -> Optional[str]:
    """Run a command in silence; its last lines if it fails."""
    pipe, null, out = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
    done = subprocess.run(command, cwd=str(root), stdin=null, stdout=pipe, stderr=out)
    if done.returncode == 0:
        return None
    return "\n".join(done.stdout.decode(errors="replace").rstrip().splitlines()[-12:])


def run(root: Path, what: str, *command: str) -> None:
    """Run a command in silence; if it fails, show its last lines and end."""
    lines = output_of_failure(root, *command)
    if lines is not None:
        print(lines, file=sys.stderr)
        fail("{} failed, for the reason above; .venv is not ready".format(what), 1)


def install(root: Path) -> None:
    """Install what constraints.txt pins, by uv where it is installed, else by pip.

    TORCH chooses a build of PyTorch (cpu, auto, cu130, ...), which only uv finds.
    """
    packages = ("-c", "constraints.txt", "-e", ".[dev]")
    torch = os.environ.get("TORCH", "")
    pip = [str(root / PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    uv = shutil.which("uv")
    if torch and not uv and output_of_failure(root, *pip, "uv") is None:
        uv = str(root / ".venv" / "bin" / "uv")
    if uv:
        backend = ["--torch-backend", torch] if torch else []
        command = [uv, "pip", "install", "-q", "--python", str(root / PYTHON), *backend, *packages]
        if output_of_failure(root, *command) is None:
            return
        print("uv cannot install it (is the network there, TORCH right?); pip does", flush=True)
    elif torch:
        print("uv, which TORCH needs, cannot be had; pip installs the usual PyTorch", flush=True)
    run(root, "pip install", *pip, *packages)


def setup(root: Path) -> None:
    """Bring .venv up to date, unless it is."""
    with only_one(root):
        if (root / ".venv").is_symlink():
            fail(".venv is a symbolic link: this would install into another checkout; remove it", 2)
        if is_ready(root):
            return
        if not is_usable(root):
            error = python_error(os.environ.get("PYTHON") or sys.executable, sys.version_info[:3])
            if error:
                fail(error, 2)
            run(root, "python -m venv", sys.executable, "-m", "venv", "--clear", ".venv")
        print("installing the packages into .venv; this may take some minutes", flush=True)
        stamp, started = root / STAMP, root / ".venv" / ".started"
        if stamp.exists():
            stamp.unlink()
        # Made now and renamed at the end: what is edited meanwhile is then newer than the stamp.
        started.write_text("")
        install(root)
        started.replace(stamp)


if __name__ == "__main__":
    # SIGTERM becomes an exception, so that pip ends with this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        setup(Path(__file__).resolve().parent.parent)
    except KeyboardInterrupt:
        fail("stopped; make setup takes it up again", 130)
