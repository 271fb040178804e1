"""How PyTorch's threads wait for each other: beside nothing, beside a busy process, two at once.

    python -m benchmarks.waiting --out benchmarks/results/waiting.json

Each round trains with every setting in turn; ratios to libgomp's own setting are taken round by
round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.throughput import RECIPE, hardware, run, spread

SETTINGS: dict[str, dict[str, str]] = {
    "libgomp's own": {"GOMP_SPINCOUNT": "300000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=300": {"GOMP_SPINCOUNT": "300"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"},
}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Processes that compute all the time."""
    found = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in found:
            process.kill()
            process.wait()


def train(setting: dict[str, str], steps: int, seed: int, envs: int) -> float:
    """Steps a second of a training."""
    decay = {"learning_starts": 200, "exploration_fraction": 200 / steps}
    values = {**RECIPE, **decay, "n_timesteps": steps}
    more = {"engine": {"n_envs": envs}, "profile": False}
    arguments = {"game": "SpaceInvaders", "values": values, "seed": seed, **more}
    return float(run("ours", arguments, **setting)["steps_per_second"])


def two_at_once(setting: dict[str, str], steps: int, seed: int, envs: int) -> float:
    """Steps a second of two trainings that begin together, with their start."""
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda s: train(setting, steps, s, envs), (seed, seed + 100)))
    return 2 * steps / (time.perf_counter() - started)


def main() -> None:
    """Measure in rounds, print medians, write all figures."""
    flags = argparse.ArgumentParser(
        prog="benchmarks.waiting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--steps", type=int, default=1600)
    flags.add_argument("--envs", type=int, default=1)
    flags.add_argument("--out", type=Path)
    args = flags.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    for load in ("quiet", "beside 1", "two at once"):
        found[load] = []
        for seed in range(args.rounds):
            how = two_at_once if load == "two at once" else train
            with busy(int(load == "beside 1")):
                row = {k: how(v, args.steps, seed, args.envs) for k, v in SETTINGS.items()}
            found[load].append(row)
        for name in SETTINGS:
            speed = [row[name] for row in found[load]]
            ratio = [row[name] / row["libgomp's own"] for row in found[load]]
            print(f"{load:12} {name:24} {spread(speed)} steps/s, {spread(ratio, 2)}", flush=True)
    facts: dict[str, Any] = {"hardware": hardware(), "envs": args.envs, "steps_per_second": found}
    if args.out:
        args.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
