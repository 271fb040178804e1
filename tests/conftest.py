"""What the tests share: a small Pong recipe, and commands run as the Makefile runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes of tests share the cores

import custom  # noqa: F401, I001  # before PyTorch is imported: it sets GOMP_SPINCOUNT

import pytest
import torch as th
import yaml

from custom.recipe.check import REQUIRED, check
from custom.recipe.model import Hyperparams
from tests.compared import trained, written
from tests.foreign import zoo_agents
from tests.servers.fixtures import hub, hub_xet
from tests.servers.wandb_fixtures import wandb_server
from tests.tracked import untracked

__all__ = [
    "hub",
    "hub_xet",
    "trained",
    "untracked",
    "wandb_server",
    "written",
    "zoo_agents",
]  # fixtures
ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "env_wrapper": ["stable_baselines3.common.atari_wrappers.AtariWrapper"],
    "frame_stack": 4,
    "policy": "CnnPolicy",
    "n_timesteps": 400,
    "buffer_size": 400,
    "learning_starts": 40,
    "train_freq": 4,
    "target_update_interval": 100,
    "exploration_fraction": 0.5,
    "policy_kwargs": {"features_extractor_kwargs": {"features_dim": 32}},
}


def typed(values: dict[str, Any], algo: str = "dqn") -> Hyperparams:
    """Hyperparameters, with what is not said of a playable recipe."""
    return check(REQUIRED | values, algo)


th.set_num_threads(1)  # two cores shared by several processes: more threads only wait


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that learns on a few hundred steps."""
    file = tmp_path_factory.mktemp("recipes") / "small.yml"
    file.write_text(yaml.safe_dump({"atari": SMALL}))
    return file


def start(module: str, *arguments: object, cwd: Path = ROOT) -> subprocess.Popen[str]:
    """A command of the project in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(module: str, *arguments: object) -> str:
    """What a command prints; it must succeed."""
    process = start(module, *arguments)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Call a command's entry point in this process; it must refuse in one line, with status 2."""

    def call(module: str, *arguments: object) -> str:
        script = import_module(module)
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            script.options.main(script.command)
        error = capsys.readouterr().err
        assert end.value.code == 2
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return call
