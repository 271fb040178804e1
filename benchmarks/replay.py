"""Memory of a replay that is full, and how fast it is filled, sampled, saved and loaded.

python -m benchmarks.replay --steps 1000000 --out benchmarks/results/replay.json
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

from benchmarks.throughput import write
from custom.replay.buffer import FrameReplayBuffer
from custom.replay.files import load_steps, save_steps

SPACES = (spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(6))
GAME = 200  # steps after which a game or a life ends


def resident() -> float:
    """Resident memory of this process in GB."""
    status = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024 / 1e9


def fill(buffer: FrameReplayBuffer, steps: int, n_envs: int) -> None:
    """Random frames, stacked as `VecFrameStack` stacks them."""
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 256, (64, n_envs, 84, 84), dtype=np.uint8)
    obs = np.zeros((n_envs, 4, 84, 84), np.uint8)
    obs[:, 3] = pool[0]
    for step in range(steps // n_envs + 1):
        following = np.empty_like(obs)
        following[:, :3], following[:, 3] = obs[:, 1:], pool[step % 63 + 1]
        done = np.full(n_envs, step % GAME == GAME - 1)
        actions = rng.integers(6, size=n_envs)
        buffer.add(obs, following, actions, done.astype(np.float32), done, [{}] * n_envs)
        obs = following
        if done.all():
            obs = np.zeros_like(obs)
            obs[:, 3] = pool[0]


def seconds(function: Callable[[], Any]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and write."""
    flags = argparse.ArgumentParser(prog="benchmarks.replay", description=__doc__)
    flags.add_argument("--steps", type=int, default=1_000_000)
    flags.add_argument("--envs", type=int, default=8)
    flags.add_argument("--folder", type=Path, help="where to save; default: a temporary one")
    flags.add_argument("--out", type=Path, help="JSON file of the figures")
    args = flags.parse_args()
    before = resident()
    buffer = FrameReplayBuffer(args.steps, *SPACES, device="cpu", n_envs=args.envs)
    found: dict[str, Any] = {"steps": args.steps, "n_envs": args.envs}
    filling = seconds(lambda: fill(buffer, args.steps, args.envs))
    found["add_us_per_step"] = filling / args.steps * 1e6
    assert buffer.full
    found["resident_gb"] = resident() - before
    found["sb3_gb"] = args.steps * (2 * 4 * 84 * 84 + 8 + 3 * 4) / 1e9  # of its arrays
    times = [seconds(lambda: buffer.sample(32)) for _ in range(2000)]
    found["sample_32_ms"] = float(np.median(times)) * 1000
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        file, first = Path(name) / "replay.npy", buffer.ring.added - buffer.buffer_size
        save = seconds(lambda: save_steps(buffer, first, file))
        size = file.stat().st_size / 1e6
        found |= {"file_gb": size / 1000, "save_mb_per_s": size / save}
        added = buffer.ring.added
        found["load_mb_per_s"] = size / seconds(lambda: load_steps(buffer, added, [file]))
        assert buffer.full
        assert th.isfinite(buffer.sample(32).rewards).all()
    print(json.dumps(found, indent=1))
    write(found, args.out)


if __name__ == "__main__":
    main()
