"""The commands behind the Makefile's targets."""

import custom  # noqa: F401  # before PyTorch is imported: it sets GOMP_SPINCOUNT
