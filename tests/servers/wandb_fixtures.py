"""``wandb_server``: a W&B of its own for each test, and the client turned to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.wandb_server import WandbServer


@contextmanager
def a_wandb(folder: Path) -> Iterator[WandbServer]:
    """A W&B without runs, and the client's settings turned to it, here and in processes started.

    :param folder: for the client's own files
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        server = WandbServer()
        for name, value in server.env.items():
            patch.setenv(name, value)
        for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(folder / "wandb_home"))
        patch.setenv("NETRC", str(folder / "netrc"))
        server.start()
        _forget()
        yield server
        _forget()
        server.stop()


@pytest.fixture
def wandb_server(tmp_path: Path) -> Iterator[WandbServer]:
    """A W&B of its own for a test."""
    with a_wandb(tmp_path) as server:
        yield server


def _forget() -> None:
    """End the client's process, which holds connections and settings of earlier tests."""
    import wandb

    wandb.teardown()
