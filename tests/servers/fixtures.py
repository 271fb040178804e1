"""``hub``: a Hub of its own for each test, and this process's client turned to it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants, hf_api

from tests.servers.hub import Hub

ALSO_READ = (  # by the client, and in the way of what a test sets
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_OIDC_RESOURCE",
    "HF_STORED_TOKENS_PATH",
    "HF_TOKEN_PATH",
    "HUGGINGFACE_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN",
    "TRANSFORMERS_OFFLINE",
)


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
    """Point the client in this process at the Hub, and let it retry without waiting.

    The client reads the token at each call, everything else once when it is imported.
    """
    for name in ALSO_READ:
        monkeypatch.delenv(name, raising=False)
    for name, value in hub.env.items():
        monkeypatch.setenv(name, value)
    home = hub.env["HF_HOME"]
    read_once = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": home,
        "HF_HUB_CACHE": os.path.join(home, "hub"),
        "HUGGINGFACE_HUB_CACHE": os.path.join(home, "hub"),
        "HF_TOKEN_PATH": os.path.join(home, "token"),
        "HF_STORED_TOKENS_PATH": os.path.join(home, "stored_tokens"),
        "AGENT_HARNESSES_PATH": os.path.join(home, ".agent_harnesses.json"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_XET": True,
    }
    for name, value in read_once.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
    monkeypatch.setattr("huggingface_hub.utils._http.time", NoTime)
    monkeypatch.setattr("huggingface_hub.file_download.time", NoTime)
