"""The whole way by make: push, push again, list, pull, evaluate what was pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from custom.runs.folder import open_run
from tests.conftest import ROOT, SMALL
from tests.servers.hub import Hub
from tests.test_push import ENV, FILES

REPO = "tester/small-PongNoFrameskip-v4"


class Checkout:
    """A folder with the Makefile, whose .venv is this interpreter."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder, self.hub = folder, hub
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        for name in ("pyproject.toml", "constraints.txt", "Makefile"):
            shutil.copy(ROOT / name, folder)
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        (folder / ".venv" / ".ready").touch()

    def make(self, *words: str, status: int = 0) -> str:
        """What a make command prints; it must end with this status."""
        hidden = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
        kept = {k: v for k, v in os.environ.items() if k not in hidden}
        done = subprocess.run(
            ["make", *words],
            cwd=self.folder,
            env={**kept, **self.hub.env, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == (status != 0), done.stdout + done.stderr
        assert self.hub.token not in done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr


@pytest.fixture
def checkout(tmp_path: Path, hub: Hub) -> Checkout:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "small.yml").write_text(yaml.safe_dump({"atari": SMALL}))
    return Checkout(folder, hub)


@pytest.mark.long
def test_an_agent_goes_to_the_hub_and_comes_back(checkout: Checkout, hub: Hub) -> None:
    small = ("GAME=Pong", "RECIPE=small.yml")
    checkout.make("train", *small, "STEPS=120", "SEED=1", "EPISODES=1", "ARGS=--no-report")
    built = checkout.make("push", *small, "EPISODES=1", "DRY_RUN=1")
    assert "nothing is pushed" in built
    assert hub.requests == []

    sent = checkout.make("push", *small, "EPISODES=1")
    assert sent.splitlines()[-2:] == ["one commit", f"Agent: {hub.url}/{REPO}"]
    expected = {name.replace(ENV, "PongNoFrameskip-v4") for name in FILES}
    assert set(hub.files(REPO)) >= expected
    assert "nothing has changed" in checkout.make("push", *small, "EPISODES=1")
    assert len(hub.commits(REPO)) == 2

    listed = checkout.make("leaderboard", "GAME=Pong")
    assert f"{REPO} [yours]" in listed
    assert "[here]" not in listed  # it is the same agent

    pulled = checkout.make("pull", f"REPO={REPO}")
    run = open_run(checkout.folder / pulled.splitlines()[-1].removeprefix("Run: "))
    first = open_run(checkout.folder / "logs/small/dqn/PongNoFrameskip-v4_1")
    assert (run.path / "recipe.yml").read_bytes() == (first.path / "recipe.yml").read_bytes()
    again = checkout.make("evaluate", f"RUN={run.path}", "EPISODES=2")
    assert again.splitlines()[-1] == f"Evaluation: {run.path}/evaluation.json"
    assert checkout.make("record", f"RUN={run.path}")
