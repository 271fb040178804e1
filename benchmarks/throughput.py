"""Steps a second of this project beside the zoo's, in turn on the same machine.

    python -m benchmarks.throughput --game SpaceInvaders --pairs 5 --out benchmarks/results/cpu.json

Both play the same game with the same recipe, seed and budget; what is measured begins when learning
has. The ratio is taken pair by pair, so that it holds where the machine's speed drifts.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import stable_baselines3
import torch as th

from benchmarks.side import OUTPUT
from custom.env.workers import usable_cores
from scripts.options import PRECISIONS

RECIPE = {  # the zoo's dqn.yml; warm-up and exploration are short, so that learning is measured
    "env_wrapper": ["stable_baselines3.common.atari_wrappers.AtariWrapper"],
    "frame_stack": 4,
    "policy": "CnnPolicy",
    "buffer_size": 100_000,
    "learning_rate": 1e-4,
    "batch_size": 32,
    "target_update_interval": 1000,
    "train_freq": 4,
    "gradient_steps": 1,
    "exploration_final_eps": 0.01,
}


def values(steps: int, **more: Any) -> dict[str, Any]:
    """The recipe for a run whose speed is measured after a short warm-up."""
    warm_up = min(1000, steps // 4)
    decay = {"learning_starts": warm_up, "exploration_fraction": warm_up / steps}
    return {**RECIPE, **more, **decay, "n_timesteps": steps}


def run(
    side: str,
    game: str,
    values: dict[str, Any],
    seed: int,
    engine: dict[str, Any],
    **environment: str,
) -> dict[str, Any]:
    """Train once in a process of its own; what its clock says."""
    arguments = json.dumps([side, game, values, seed, engine])
    command = [sys.executable, "-m", "benchmarks.side", arguments]
    variables = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    lines = [line for line in done.stdout.splitlines() if line.startswith(OUTPUT)]
    if done.returncode or not lines:
        sys.exit(f"{side}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return {"side": side, **json.loads(lines[0].removeprefix(OUTPUT))}


def hardware() -> dict[str, Any]:
    """What it was measured on."""
    model = ""
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    return {
        "cpu": model or platform.processor(),
        "cores": usable_cores(),
        "gpu": th.cuda.get_device_name() if th.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": th.__version__,
        "stable_baselines3": stable_baselines3.__version__,
    }


def spread(values: list[float], digits: int = 1) -> str:
    """Median, and minimum to maximum."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def report(found: list[dict[str, Any]]) -> None:
    """Print the table: medians, with minimum and maximum, over the runs."""
    sides = sorted({run["side"] for run in found}, reverse=True)
    print(f"\n{'':6}  {'steps/s':24} {'frames/s':24} {'peak GB':8}")
    for side in sides:
        runs = [run for run in found if run["side"] == side]
        speed = [run["steps_per_second"] for run in runs]
        frames, memory = [4 * x for x in speed], max(run["peak_rss_gb"] for run in runs)
        print(f"{side:6}  {spread(speed):24} {spread(frames, 0):24} {memory:<8.2f}")
    if len(sides) == 2:
        zoo, ours = ([r["steps_per_second"] for r in found if r["side"] == s] for s in sides)
        print(f"ratio   {spread([b / a for a, b in zip(zoo, ours, strict=True)], 2)}")


def write(facts: dict[str, Any], out: Path | None) -> None:
    """Write the raw figures, if there is a file for them."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"hardware": hardware(), **facts}, indent=1) + "\n")


def main() -> None:
    """Run the two in turn, A B A B ..., and print the table."""
    flags = argparse.ArgumentParser(prog="benchmarks.throughput", description=__doc__)
    add = flags.add_argument
    add("--game", default="SpaceInvaders")
    add("--steps", type=int, default=4000, help="of each run; at most 1000 are warm-up")
    add("--pairs", type=int, default=5)
    add("--batch-size", type=int, default=32)
    add("--buffer-size", type=int, default=100_000)
    add("--alone", action="store_true", help="without the zoo, e.g. to vary one setting")
    add("--envs", type=int, default=1, help="of this project; the zoo takes one")
    add("--workers", type=int, default=0, help="processes that play; 0: by the rule")
    add("--precision", default="float32", choices=PRECISIONS)
    add("--threads", type=int, default=0)
    add("--out", type=Path, help="JSON file of the raw figures")
    args = flags.parse_args()
    settings = {"workers": args.workers, "precision": args.precision, "threads": args.threads}
    engine = {"n_envs": args.envs, **settings}
    recipe = values(args.steps, batch_size=args.batch_size, buffer_size=args.buffer_size)
    found = []
    for pair in range(args.pairs):
        for side in ["ours"] if args.alone else ["zoo", "ours"]:
            found.append(run(side, args.game, recipe, pair, engine))
            print(f"{side:6} {found[-1]['steps_per_second']:8.1f} steps/s", flush=True)
    print(f"\n{args.game}, {args.steps:,} steps a run, {json.dumps(engine)}")
    report(found)
    write({"command": sys.argv[1:], "engine": engine, "runs": found}, args.out)


if __name__ == "__main__":
    main()
