"""The process of a task, which ends with its parent, also if that was killed.

    python -m custom.jobs.child PARENT MODULE [ARGUMENT ...]

Else a training would continue beside the one that replaces it.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

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
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
