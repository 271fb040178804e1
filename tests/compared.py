"""Run folders for comparisons: written by hand, and five that were trained."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from custom.env.games import MAX_FRAMES
from custom.evaluation import EPSILON
from custom.recipe.games import find_game
from custom.runs.folder import claim_folder
from custom.system.files import write_json
from custom.wrappers import NOOP_MAX

Write = Callable[..., Path]
PROTOCOL = {
    "epsilon": EPSILON,
    "noop_max": NOOP_MAX,
    "repeat_action_probability": 0.0,
    "max_frames": MAX_FRAMES,
}
TRAINED = [("small", 1), ("small", 2), ("small", 3), ("small-fast", 1), ("small-fast", 2)]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """Write a finished run into ``tmp_path/logs``."""

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
        usual = {
            "env_id": env.env_id,
            "recipe": recipe,
            "algo": "dqn",
            "seed": seed,
            "frame_skip": 4,
            "n_timesteps": 2000,
            "steps": 2000,
            "state": "finished",
            "eval_protocol": PROTOCOL | {"episodes": len(scores[0])},
            "wall_clock_seconds": 100.0,
            "hardware": {"cpus": 2, "gpu": None},
        }
        write_json(folder / "run.json", usual | facts)
        entry = SMALL | {"n_timesteps": facts.get("n_timesteps") or 2000} | (values or {})
        (folder / "recipe.yml").write_text(json.dumps({env.env_id: entry}))  # JSON is YAML
        if evaluated:
            np.savez(folder / "evaluations.npz", timesteps=evaluated, results=np.array(scores))
        return folder

    return write


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs with five short runs of Pong, two recipes, and a film of one run of each.

    All are tracked offline, one of them with films.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "trained"
    with Path(f"{folder}.lock").open("w") as lock:  # one process trains for all
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _train(folder)
    return folder / "logs"


def _train(folder: Path) -> None:
    from tests.conftest import SMALL, run  # which imports this module

    folder.mkdir()
    changes = {"small": {}, "small-fast": {"learning_rate": 1e-3, "target_update_interval": 50}}
    for name, values in changes.items():
        (folder / f"{name}.yml").write_text(yaml.safe_dump({"atari": SMALL | values}))
    shared = ["--game", "Pong", "--logs", folder / "logs", "--device", "cpu"]
    few = ["--eval-freq", 200, "--eval-episodes", 1, "--no-report", "--threads", 1]
    few += ["--track", "offline"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_MODE", raising=False)
        for name, seed in TRAINED:
            file = folder / f"{name}.yml"
            more = ["--track-videos"] if (name, seed) == ("small", 1) else []
            run("scripts.train", *shared, *few, *more, "--recipe", file, "--seed", seed)
            if seed == 1:
                run("scripts.record", *shared, "--recipe", file)
