"""``wandb_server``: a W&B of its own for each test, and the client turned to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.wandb_server import WandbServer


@pytest.fixture
def wandb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A W&B without runs, and the client's settings turned to it, here and in processes started."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    server = WandbServer()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb_home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.start()
    _forget()
    yield server
    _forget()
    server.stop()


def _forget() -> None:
    """End the client's process, which holds connections and settings of earlier tests."""
    import wandb

    wandb.teardown()
