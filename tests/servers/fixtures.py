"""``hub``: a Hub of its own for each test, and this process's client turned to it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants, hf_api

from tests.servers.hub import Hub


class NoTime:
    @staticmethod
    def sleep(seconds: float) -> None:
        """Do not."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(tmp_path / "hub")
    turn_client(hub, monkeypatch)
    close_session()  # connections to the servers of earlier tests
    yield hub
    close_session()
    hub.stop()


def turn_client(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn the client in this process, which reads most when it is imported, to the Hub."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "TRANSF"))]:
        monkeypatch.delenv(name)
    for name, value in hub.env.items():
        monkeypatch.setenv(name, value)
    home = hub.env["HF_HOME"]
    read_once = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": home,
        "HF_TOKEN_PATH": os.path.join(home, "token"),
        "HF_STORED_TOKENS_PATH": os.path.join(home, "stored_tokens"),
        "AGENT_HARNESSES_PATH": os.path.join(home, ".agent_harnesses.json"),
    }
    read_once |= dict.fromkeys(("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"), f"{home}/hub")
    read_once |= {"HF_HUB_DISABLE_TELEMETRY": True, "HF_HUB_DISABLE_XET": True}
    for name, value in (read_once | {"HF_HUB_OFFLINE": False}).items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
    monkeypatch.setattr("huggingface_hub.utils._http.time", NoTime)
    monkeypatch.setattr("huggingface_hub.file_download.time", NoTime)
