"""The provenance of a run: command, versions, revision and machine."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch as th

# Packages that can change what is learnt.
PACKAGES = ("ale-py", "gymnasium", "numpy", "rl_zoo3", "sb3_contrib", "stable_baselines3", "torch")
ROOT = Path(__file__).resolve().parents[2]


def provenance() -> dict[str, Any]:
    """What is needed to repeat a run, besides its recipe and seed."""
    return {
        "command": shlex.join(sys.orig_argv),
        "started": now(),
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "hardware": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "gpu": th.cuda.get_device_name() if th.cuda.is_available() else None,
        },
    }


def now() -> str:
    """The time in UTC, to the second, in ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def git_revision() -> str | None:
    """The commit of this checkout, with ``+changes`` where files differ from it.

    None for an installed copy, whose folder may lie in a checkout of something else.
    """
    if not (ROOT / ".git").exists():
        return None
    form = ["--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]  # no tags
    command = ["git", "-C", str(ROOT), "describe", *form]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or an unpacked archive
        return None
