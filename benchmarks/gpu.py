"""What a GPU has to show, in parts that can be run one after another, each within its minutes.

    python -m benchmarks.gpu --minutes 9        # the parts that are left, as time allows
    python -m benchmarks.gpu --small            # every part with tiny figures, also without a GPU

Each part writes ``gpu-PART.json`` and is not repeated where that file exists; a long run is resumed
each time until it is finished. ``--small`` writes into a temporary folder.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch as th

from benchmarks.throughput import run, values, write
from custom.runs.folder import open_run
from custom.runs.listing import can_resume
from custom.runs.metrics import evaluations
from custom.system.signals import SIGNAL_STATUS

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/test_dqn.py", "tests/test_update.py", "tests/test_optimizers.py")
ENVS = (1, 16, 64)
RECIPES = ("dqn-rmsprop", "best")  # of the long runs
SAVING = 60.0  # seconds in which a long run saves its state
MILLIONS = 12.5  # steps of a long run: 50M frames


@dataclass(frozen=True)
class Plan:
    """How much is done.

    :param tests: files
    :param steps: of a run whose speed is measured
    :param budget: of a long run, in steps
    :param end: in seconds of `time.monotonic`
    """

    tests: tuple[str, ...]
    steps: int
    pairs: int
    budget: int
    end: float

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


Part = Callable[[Plan, Path], dict[str, Any] | None]


def tests(plan: Plan, _: Path) -> dict[str, Any] | None:
    """The tests that need a GPU, with those beside them; None: one failed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plan.tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-5000:] if done.returncode else "")
    return None if done.returncode else {"summary": done.stdout.splitlines()[-1]}


def capture(plan: Plan, _: Path) -> dict[str, Any]:
    """Captured and eager updates, in turn: steps a second."""
    sides = [_speed(plan, 1, EAGER=eager) for _ in range(plan.pairs) for eager in ("", "1")]
    return {"captured": sides[::2], "eager": sides[1::2]}


def throughput(n_envs: int) -> Part:
    """This project with some games beside the zoo with one: steps a second and peak memory."""

    def part(plan: Plan, _: Path) -> dict[str, Any]:
        pairs = [(_speed(plan, 1, "zoo"), _speed(plan, n_envs)) for _pair in range(plan.pairs)]
        return {"zoo": [zoo for zoo, _ in pairs], "ours": [ours for _, ours in pairs]}

    return part


def _speed(plan: Plan, n_envs: int, side: str = "ours", **environment: str) -> dict[str, Any]:
    engine = {"n_envs": n_envs}
    return run(side, "SpaceInvaders", values(plan.steps), 0, engine, **environment)


def train(recipe: str) -> Part:
    """50M frames of Space Invaders, as time allows; None: not finished yet."""

    def part(plan: Plan, folder: Path) -> dict[str, Any] | None:
        flags = f"--game SpaceInvaders --recipe {recipe} --steps {plan.budget} --seed 1"
        logs = folder / "gpu" / recipe
        existing = [open_run(file.parent) for file in logs.glob("*/*/*/run.json")]
        if resumable := [run for run in existing if can_resume(run)]:
            arguments = ["scripts.resume", "--run", str(resumable[0].path)]
        else:
            arguments = ["scripts.train", *flags.split(), "--logs", str(logs)]
        process = subprocess.Popen([sys.executable, "-m", *arguments, "--no-report"], cwd=ROOT)
        try:
            process.wait(max(plan.left - SAVING, 1))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it saves its state
            if process.wait() == SIGNAL_STATUS + signal.SIGINT:
                return None
        if process.returncode:
            sys.exit(f"the training of {recipe} ended with status {process.returncode}")
        newest = max(logs.glob("*/*/*/run.json"), key=lambda file: file.stat().st_mtime)
        run = open_run(newest.parent)
        curves = {name: values.tolist() for name, values in (evaluations(run) or {}).items()}
        return {"run": run.facts, **curves}

    return part


PARTS: dict[str, tuple[float, Part]] = {  # with the minutes that each needs
    "tests": (2, tests),
    "capture": (4, capture),
    **{f"throughput-{n}": (6, throughput(n)) for n in ENVS},
    **{f"train-{recipe}": (2, train(recipe)) for recipe in RECIPES},
}


def main() -> None:
    """Run the parts that are left."""
    flags = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    flags.add_argument("--minutes", type=float, default=9.0)
    flags.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    flags.add_argument("--small", action="store_true")
    args = flags.parse_args()
    if not (args.small or th.cuda.is_available()):
        flags.error("PyTorch sees no GPU here; --small tries every part without one")
    os.environ.setdefault("OMP_NUM_THREADS", str(th.get_num_threads()))
    end = time.monotonic() + 60 * args.minutes
    plan, logs = Plan(TESTS, 10_000, 3, int(MILLIONS * 1e6), end), ROOT / "logs"
    if args.small:
        plan = Plan(TESTS[-1:], 400, 1, 800, time.monotonic() + 3600)
        args.out = logs = Path(tempfile.mkdtemp())
    for name, (minutes, part) in PARTS.items():
        file = args.out / f"gpu-{name}.json"
        if file.exists() or plan.left < 60 * minutes:
            print(f"{name}: {'done' if file.exists() else 'not enough time is left'}")
            continue
        result = part(plan, logs)
        if result is not None:
            write(result, file)
        print(f"{name}: {'not done' if result is None else json.dumps(result)[:300]}")


if __name__ == "__main__":
    main()
