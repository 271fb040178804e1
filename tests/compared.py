"""Run folders for comparisons: written by hand, and five that were trained."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import yaml

from custom.env.games import MAX_FRAMES
from custom.evaluation import EPSILON
from custom.recipe.games import find_game
from custom.runs.folder import claim_folder
from custom.system.files import write_json
from custom.wrappers import NOOP_MAX

Write = Callable[..., Path]
PROTOCOL = {"epsilon": EPSILON, "noop_max": NOOP_MAX, "max_frames": MAX_FRAMES}
PROTOCOL |= {"repeat_action_probability": 0.0}
GAME = "RoadRunner"  # whose full games are the shortest: 80 steps
TRAINED = [("small", 3), ("small", 1), ("small", 2), ("small-fast", 1), ("small-fast", 2)]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(
        recipe: str = "dqn",
        seed: int = 0,
        scores: Sequence[Sequence[float]] = ((0.0, 2.0), (4.0, 6.0)),
        game: str = "Pong",
        values: dict[str, Any] | None = None,
        evaluated: Sequence[int] = (1000, 2000),
        **facts: Any,
    ) -> Path:
        from tests.conftest import SMALL  # which imports this module

        env = find_game(game)
        folder = claim_folder(tmp_path / "logs" / recipe / "dqn", env.folder_name)
        usual = {"env_id": env.env_id, "recipe": recipe, "algo": "dqn", "seed": seed}
        usual |= {"frame_skip": 4, "n_timesteps": 2000, "steps": 2000, "state": "finished"}
        usual |= {"eval_protocol": PROTOCOL | {"episodes": len(scores[0])}}
        usual |= {"wall_clock_seconds": 100.0, "hardware": {"cpus": 2, "gpu": None}}
        write_json(folder / "run.json", usual | facts)
        entry = SMALL | {"n_timesteps": facts.get("n_timesteps") or 2000} | (values or {})
        (folder / "recipe.yml").write_text(json.dumps({env.env_id: entry}))  # JSON is YAML
        if evaluated:
            np.savez(folder / "evaluations.npz", timesteps=evaluated, results=np.array(scores))
        return folder

    return write


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs with five short runs of `GAME`, two recipes, and a film of one run of each.

    All are tracked offline. What the first one printed, which has a report, is in ``output``.
    """
    return once(tmp_path_factory, "trained", _train) / "logs"


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one process of tests fills for all of them."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.with_suffix(".made").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir()
            make(folder)
            folder.with_suffix(".made").touch()
    return folder


def _train(folder: Path) -> None:
    from tests.conftest import SMALL, run, run_process  # which imports this module

    changes = {"small": {}, "small-fast": {"learning_rate": 1e-3, "target_update_interval": 50}}
    for name, values in changes.items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump({"atari": SMALL | values}))
    shared = ["--game", GAME, "--logs", folder / "logs", "--device", "cpu"]
    few = ["--eval-freq", 200, "--eval-episodes", 1, "--save-freq", 100, "--episodes", 1]
    few += ["--threads", 1, "--track", "offline"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_MODE", raising=False)
        for name, seed in TRAINED:
            flags = [*shared, *few, "--recipe", folder / f"{name}.yml", "--seed", seed]
            if (name, seed) == TRAINED[0]:
                output = run_process("scripts.train", *flags)
                (folder / "output").write_text(output)
            else:
                run("scripts.train", *flags, "--no-report")
    run("scripts.record", *shared, "--recipe", folder / "small-fast.yml")
    wandb.teardown()
