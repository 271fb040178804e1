"""The process of a task, which ends with its parent, also if that was killed.

    python custom/jobs/child.py PARENT MODULE [ARGUMENT ...]

Else a training would continue beside the one that replaces it. It is started by its file, so that
the module is of the same copy of this project, whatever lies in the current folder.
"""

import ctypes
import os
import runpy
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # of Linux: the signal that comes when the parent ends


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray's workers block some signals
    if sys.platform.startswith("linux"):  # other systems cannot send it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(sys.argv[1]):  # the parent has ended already
            os.kill(os.getpid(), signal.SIGTERM)
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
