"""Trainings with a fixed seed give the weights, games and evaluations that were recorded.

    python -m tests.test_unchanged    # record them for this processor

The last bits of a product depend on the processor, so `unchanged.json` has a row for each kind on
which it was recorded. On any other one the weights have to be near the first row's.
"""

import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

FILE = Path(__file__).with_suffix(".json")
RECIPES = ("dqn", "rainbow", "dqn-rmsprop", "qrdqn", "dqn-keras")
FLAGS = "--game Pong --steps 2000 --seed 1 --device cpu --threads 1 --envs 1 --no-report"
EVALUATIONS = "--eval-freq 1000 --eval-episodes 2"


def processor() -> str:
    """Vendor, family and model, on which the choice of kernels depends."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    names = ("vendor_id", "cpu family", "model")
    capability = th.backends.cpu.get_cpu_capability()
    return " ".join([*(facts.get(name, "?") for name in names), capability])


def train(recipe: str, logs: Path) -> dict[str, Any]:
    flags = [*FLAGS.split(), *EVALUATIONS.split(), "--recipe", recipe, "--logs", str(logs)]
    command = [sys.executable, "-m", "scripts.train", *flags]
    subprocess.run(command, check=True, capture_output=True, cwd=FILE.parents[1])
    [folder] = logs.glob("*/*/*_1")
    [agent] = folder.glob("*NoFrameskip-v4.zip")
    policy = zipfile.ZipFile(agent).read("policy.pth")
    state = th.load(io.BytesIO(policy), weights_only=True)
    games = (folder / "training_games.csv").read_bytes()
    evaluations = np.load(folder / "evaluations.npz")
    return {
        "weights": digest(*(state[name].numpy().tobytes() for name in sorted(state))),
        "games": digest(games),
        "evaluations": digest(*(evaluations[name].tobytes() for name in sorted(evaluations))),
        "norms": {name: float(state[name].norm()) for name in sorted(state)},
    }


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_is_what_it_was(recipe: str, tmp_path: Path) -> None:
    recorded, found = json.loads(FILE.read_text()), train(recipe, tmp_path)
    if processor() in recorded:
        assert found == recorded[processor()][recipe]
    else:
        first = next(iter(recorded.values()))[recipe]
        assert found["norms"] == pytest.approx(first["norms"], rel=0.02)


def record() -> None:
    recorded = json.loads(FILE.read_text()) if FILE.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        found = {recipe: train(recipe, Path(folder) / recipe) for recipe in RECIPES}
    FILE.write_text(json.dumps({**recorded, processor(): found}, indent=1) + "\n")


if __name__ == "__main__":
    record()
