"""What the tests share: a small Pong recipe, and commands run as the Makefile runs them."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes of tests share the cores

import custom  # noqa: F401, I001  # before PyTorch is imported: it sets GOMP_SPINCOUNT

import pytest
import torch as th
import yaml
from stable_baselines3.common.callbacks import BaseCallback

from custom.compare import statistics
from custom.jobs import task
from custom.recipe.check import check
from custom.recipe.model import Hyperparams
from custom.recipe.recipe import Recipe
from custom.replay.buffer import FrameReplayBuffer
from custom.system.signals import STOPPING
from custom.evaluation import baselines
from scripts import options
from tests.compared import trained, written
from tests.foreign import zoo, zoo_runs
from tests.servers.fixtures import hub
from tests.servers.wandb_server import server
from tests.tracked import untracked

__all__ = ["hub", "server", "trained", "untracked", "written", "zoo", "zoo_runs"]
Printed, Patch = pytest.CaptureFixture[str], pytest.MonkeyPatch
ROOT = Path(__file__).resolve().parents[1]
ATARI = "stable_baselines3.common.atari_wrappers.AtariWrapper"
NET = {"features_extractor_kwargs": {"features_dim": 32}}
SMALL = {"env_wrapper": [{ATARI: {"screen_size": 36}}], "frame_stack": 4, "policy": "CnnPolicy"}
SMALL |= {"n_timesteps": 400, "buffer_size": 400, "learning_starts": 40, "train_freq": 4}
SMALL |= {"target_update_interval": 100, "exploration_fraction": 0.5, "policy_kwargs": NET}
WHOLE = SMALL | {"env_wrapper": [ATARI]}  # the usual 84 x 84 pixels


def longer(*values: Any) -> list[Any]:
    """Values of a parameter that only `make test-all` tries."""
    rows = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*row, marks=pytest.mark.long) for row in rows]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first, or at the end all wait for one.
    items.sort(key=lambda i: ("unchanged" not in i.nodeid, not i.get_closest_marker("long")))


def small(algo: str = "dqn", **changed: Any) -> Recipe:
    """A recipe that learns on a few hundred steps, with other values."""
    return Recipe("small", algo, Path("small.yml"), check(SMALL | changed, algo))


class At(BaseCallback):
    """Does something when a step is reached, once; 0: never."""

    def __init__(self, step: int, act: Callable[[], object]) -> None:
        super().__init__()
        self.step, self.act = step, act

    def _on_step(self) -> bool:
        if 0 < self.step <= self.num_timesteps:
            self.step = 0
            self.act()
        return True


def typed(values: dict[str, Any], algo: str = "dqn") -> Hyperparams:
    """Hyperparameters, with what is not said of a playable recipe."""
    required = {"env_wrapper": ATARI, "frame_stack": 4, "n_timesteps": 1, "policy": "CnnPolicy"}
    return check(required | values, algo)


def content(buffer: FrameReplayBuffer) -> dict[str, th.Tensor]:
    ring, extra = buffer.ring, buffer.extra()
    tensors = {"frames": ring.frames, "older": ring.older, "end_of": ring.end_of, "ends": ring.ends}
    tensors |= {"facts": buffer.facts, **extra}
    return {name: tensor.clone() for name, tensor in tensors.items()}


th.set_num_threads(1)  # two cores shared by several processes: more threads only wait


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipes") / "small.yml"
    file.write_text(yaml.safe_dump({"atari": SMALL}))
    return file


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    while STARTED:
        STARTED.pop().kill()


def start(module: str, *arguments: object, cwd: Path = ROOT) -> subprocess.Popen[str]:
    """A command of the project in a process of its own, which ends with the test at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    return process


def python(*words: object, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """What Python does with these words, in a process of its own."""
    command = [sys.executable, *map(str, words)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


def main(module: str, *arguments: object) -> tuple[int, str, str]:
    """Call a command's entry point in this process; its status, output and errors."""
    shown, problems, words = io.StringIO(), io.StringIO(), [str(word) for word in arguments]
    exits = pytest.raises(SystemExit)
    with own_signals(), redirect_stdout(shown), redirect_stderr(problems), exits as end:
        options.main(import_module(module).command, words=words)
    return int(end.value.code or 0), shown.getvalue(), problems.getvalue()


def ended(module: str, *arguments: object) -> tuple[int, str]:
    status, output, problems = main(module, *arguments)
    return status, output + problems


def run(module: str, *arguments: object) -> str:
    status, output, problems = main(module, *arguments)
    assert status == 0, output + problems
    return output


def refused(module: str, *arguments: object) -> str:
    """The error of a command, which must refuse in one line, with status 2."""
    status, _, error = main(module, *arguments)
    assert status == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def run_process(module: str, *arguments: object) -> str:
    process = start(module, *arguments)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


@pytest.fixture(autouse=True, scope="session")
def _less_of_the_same() -> Iterator[None]:
    """Fewer bootstraps, shorter waits, states of one game where an evaluation values those of 8."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "REPS", 200)
        patch.setattr(baselines, "HELD_OUT_STATES", 128)
        patch.setattr(baselines, "N_ENVS", 1)
        patch.setattr(task, "POLL", 0.05)
        yield


@contextmanager
def own_signals() -> Iterator[None]:
    """What a test or a command does to the handlers of signals is undone."""
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
