"""The commands behind the Makefile's targets."""

import signal
import sys

import custom  # noqa: F401  # before PyTorch is imported: it sets GOMP_SPINCOUNT

if sys.argv[0] == "-m":  # starting as a command: Ctrl-C while PyTorch is imported just ends it
    signal.signal(signal.SIGINT, signal.SIG_DFL)
