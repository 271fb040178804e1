"""The process of a task, which ends with its parent, also if that was killed.

    python custom/jobs/child.py PARENT MODULE [ARGUMENT ...]

Else a training would continue beside the one that replaces it. It is started by its file, so that
the module is of the same copy of this project, whatever lies in the current folder.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # of Linux: the signal that comes when the parent ends


def end_with_parent(parent: int) -> None:
    """Ask Linux for SIGTERM when the parent ends; other systems cannot send it.

    :param parent: its process id; it may have ended already
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray's workers block some signals
    end_with_parent(int(sys.argv[1]))
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
