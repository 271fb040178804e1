"""What a GPU has to show, in parts that can be run one after another, each within its minutes.

    python -m benchmarks.gpu --minutes 9
    python -m benchmarks.gpu --steps 400 --pairs 1 --out /tmp    # tries it, also without a GPU

Each part writes ``gpu-PART.json`` and is not repeated where that file exists.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.throughput import run, values, write

ENVS = (1, 16, 64)
EAGER = {"EAGER": "1"}
PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # two sides that are timed in turn
    "capture": ({"side": "ours", "n_envs": 1}, {"side": "ours", "n_envs": 1, **EAGER}),
    **{
        f"throughput-{n}": ({"side": "zoo", "n_envs": 1}, {"side": "ours", "n_envs": n})
        for n in ENVS
    },
}
NEEDED = 6.0  # minutes of a part


def measure(steps: int, side: str, n_envs: int, **environment: str) -> dict[str, Any]:
    """Steps a second and peak memory of one side."""
    return run(side, "SpaceInvaders", values(steps), 0, {"n_envs": n_envs}, **environment)


def main() -> None:
    """Run the parts that are left, as far as the time goes."""
    flags = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    flags.add_argument("--minutes", type=float, default=9.0)
    flags.add_argument("--steps", type=int, default=20_000)
    flags.add_argument("--pairs", type=int, default=3)
    flags.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = flags.parse_args()
    end = time.monotonic() + 60 * args.minutes
    for name, sides in PARTS.items():
        file = args.out / f"gpu-{name}.json"
        if file.exists() or end - time.monotonic() < 60 * NEEDED:
            print(f"{name}: {'done' if file.exists() else 'not enough time is left'}")
            continue
        pairs = [[measure(args.steps, **side) for side in sides] for _ in range(args.pairs)]
        write({"sides": sides, "pairs": pairs}, file)
        for first, second in pairs:
            speeds = [one["steps_per_second"] for one in (first, second)]
            print(f"{name}: {speeds[0]:.1f} and {speeds[1]:.1f} steps/s", flush=True)


if __name__ == "__main__":
    main()
