"""A small training that is tracked, and what becomes of it; used by the tests of tracking."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch as th
import wandb
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

from custom.recipe.games import find_game
from custom.runs.folder import Run
from custom.tracking.wish import Tracking
from custom.training.prepare import prepare
from custom.training.settings import Settings
from custom.training.train import train

PONG = find_game("Pong")
NEVER = 10**9
Tensors = list[th.Tensor]


class Dumps(BaseCallback):
    """Dumps the logger as the end of every fourth game would, and keeps what it held."""

    def __init__(self, then: Any = None) -> None:
        super().__init__()
        self.then = then
        self.held: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % 30 == 0:
            held = dict(self.logger.name_to_value)
            self.held.append({**held, "steps": self.num_timesteps})
            self.logger.dump(self.num_timesteps)
            if self.then is not None and len(self.held) == 2:
                self.then()
        return True


def trained(folder: Path, mode: str, then: Any = None) -> tuple[Run, Dumps]:
    from tests.conftest import small  # which imports this module

    how: Any = {"eval_freq": NEVER, "eval_episodes": 1, "tracking": Tracking(mode)}
    dumps, recipe = Dumps(then), small(n_timesteps=120, learning_starts=12)
    made = prepare(recipe, PONG, Settings(seed=0, logs=folder / "logs", **how))
    made = replace(made, callbacks=(dumps, *made.callbacks))
    assert train(made) == 0
    return made.run, dumps


def weights(run: Run) -> list[th.Tensor]:
    return list(DQN.load(run.final_model, device="cpu").policy.state_dict().values())


@pytest.fixture(scope="session")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> list[th.Tensor]:
    return weights(trained(tmp_path_factory.mktemp("untracked"), "off")[0])


def same(run: Run, expected: list[th.Tensor]) -> bool:
    return all(th.equal(a, b) for a, b in zip(weights(run), expected, strict=True))


def read_back(run: Run) -> tuple[Any, list[dict[str, Any]]]:
    files = (run.path / "wandb").glob("*run-*/run-*.wandb")  # an empty one, too, where it failed
    file = max(files, key=lambda file: file.stat().st_size)
    found = wandb.Api(timeout=10).run(f"tester/sb3-atari-dqn/{file.stem.removeprefix('run-')}")
    return found, [plain(row) for row in found.scan_history()]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.startswith("_")}


def has_all(rows: list[dict[str, Any]], dumps: Dumps) -> bool:
    kept = [{k: row.get(k) for k in dump} for dump, row in zip(dumps.held, rows, strict=True)]
    return kept == dumps.held and all("train/loss" in row for row in rows)


def warnings(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("warning")]


def holds(folder: Path, secret: str) -> bool:
    files = (path for path in folder.rglob("*") if path.is_file())
    return any(secret.encode() in path.read_bytes() for path in files)
