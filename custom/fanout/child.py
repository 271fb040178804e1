"""A task's process: it ends with whoever started it, also where that was killed.

    python -m custom.fanout.child PARENT MODULE [ARGUMENT ...]

Else a training would go on beside the one that takes its place.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1  # Linux: the signal that comes when the parent has gone


def end_with_parent(parent: int, number: int = signal.SIGTERM) -> None:
    """Ask the system for a signal at the parent's end; elsewhere than on Linux there is none.

    :param parent: its process, which may have gone already
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it was faster
        os.kill(os.getpid(), number)


if __name__ == "__main__":
    # Ray's workers are deaf to some signals, and what they start is so, too.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    end_with_parent(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
