"""What tracking costs a training: none, a live W&B, one that dies in the middle, one that is
dead, and one that takes requests and never answers.

    python -m benchmarks.tracking --rounds 5 --out benchmarks/results/tracking.json

The W&B is that of the tests, in this process. Trainings alternate, each in a process of its own
from one seed; ratios are taken round by round, so that they hold where the machine's speed drifts.
Steps a second are those of the second half, with one evaluation of a game; `seconds` those of the
training with the start of its session; `whole_seconds` those of the process, which waits at its end
for the upload.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from benchmarks.throughput import spread, write
from tests.servers.wandb_server import WandbServer

SIDES = ("off", "live", "dies", "dead", "silent")


def run(side: str, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train once; what its clock says, and a digest of the weights."""
    server = WandbServer()
    server.start()
    if side == "dead":
        server.stop()
    elif side == "silent":
        server.freeze()
    with tempfile.TemporaryDirectory() as folder:
        own = dict.fromkeys(("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"), folder)
        environment = {**os.environ, **server.env, **own}
        environment.pop("WANDB_MODE", None)
        shared = ["--logs", folder, "--game", args.game, "--recipe", args.recipe, "--seed", seed]
        more = ["--steps", args.steps, "--eval-freq", args.steps // 2, "--eval-episodes", 1]
        flags = [*shared, *more, "--no-report", "--track", "off" if side == "off" else "online"]
        command = [sys.executable, "-m", "scripts.train", *map(str, flags)]
        started = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if side == "dies":
            server.wait_for_rows(1)
            server.stop()
        output, _ = process.communicate()
        whole = time.monotonic() - started
        server.mend()
        server.stop()
        if process.returncode:
            sys.exit(f"{side}: exit status {process.returncode}\n{output[-2000:]}")
        found = _of_folder(Path(output.splitlines()[-1].removeprefix("Run: ")))
    warnings = sum(line.startswith("warning") for line in output.splitlines())
    return {"side": side, "seed": seed, **found, "whole_seconds": whole, "warnings": warnings}


def _of_folder(folder: Path) -> dict[str, Any]:
    facts = json.loads((folder / "run.json").read_text())
    with ZipFile(folder / f"{facts['env_id']}.zip") as agent:
        weights = hashlib.sha256(agent.read("policy.pth")).hexdigest()
    first, last = sorted(file.stat().st_mtime for file in folder.glob("rl_model_*_steps.zip"))
    return {
        "seconds": facts["wall_clock_seconds"],
        "steps_per_second": facts["steps"] / 2 / (last - first),
        "weights_sha256": weights,
    }


def report(found: list[dict[str, Any]]) -> None:
    """Print the table."""
    off = [run for run in found if run["side"] == "off"]
    print(f"\n{'':6} {'steps/s':24} {'ratio to off':20} {'whole process s':24} {'warnings':9}")
    for side in SIDES:
        pairs = list(zip((run for run in found if run["side"] == side), off, strict=True))
        speeds = [run["steps_per_second"] for run, _ in pairs]
        ratios = [run["steps_per_second"] / plain["steps_per_second"] for run, plain in pairs]
        whole = [run["whole_seconds"] for run, _ in pairs]
        same = all(run["weights_sha256"] == plain["weights_sha256"] for run, plain in pairs)
        warned = "-".join(map(str, sorted({run["warnings"] for run, _ in pairs})))
        print(f"{side:6} {spread(speeds):24} {spread(ratios, 3):20} {spread(whole):24} {warned:9}")
        if not same:
            print(f"{side}: DIFFERENT weights")


def main() -> None:
    """Train in turn and print the table."""
    flags = argparse.ArgumentParser(prog="benchmarks.tracking", description=__doc__)
    flags.add_argument("--game", default="Pong")
    flags.add_argument("--recipe", default="dqn")
    flags.add_argument("--steps", type=int, default=4000)
    flags.add_argument("--rounds", type=int, default=5)
    flags.add_argument("--out", type=Path, help="JSON file of the raw figures")
    args = flags.parse_args()
    found = []
    for seed in range(args.rounds):
        for side in SIDES:
            found.append(run(side, args, seed))
            print(f"{side:6} {found[-1]['steps_per_second']:8.1f} steps/s", flush=True)
    report(found)
    write({"command": sys.argv[1:], "runs": found}, args.out)


if __name__ == "__main__":
    main()
