"""The commands behind the Makefile's targets."""

import os.path
import signal
import sys

import custom  # noqa: F401  # before PyTorch is imported: it sets GOMP_SPINCOUNT

if sys.platform == "win32":
    sys.exit("error: sb3-atari-dqn needs Linux, macOS or WSL")
# Starting as a command: Ctrl-C while it is imported just ends it.
if os.path.basename(sys.argv[0]) in ("-m", "sb3-atari-dqn"):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
