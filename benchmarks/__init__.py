"""Measurements: each is a script that prints a table and writes its raw figures."""

import custom  # noqa: F401  # before PyTorch is imported: it sets GOMP_SPINCOUNT
