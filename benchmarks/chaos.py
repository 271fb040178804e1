"""Kill one training many times at random moments, resume it each time, and compare the results.

python -m benchmarks.chaos [--kills 200] [--steps 20000] [--recipe dqn] [--seed 0]

The process that learns is forked, ends by SIGKILL, and the next one resumes from the run folder.
The same training is then made without a kill: agents, games and evaluations have to be equal.
"""

import argparse
import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch as th

from custom.learner.engine import Engine
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.runs.folder import BEST, Run, open_run
from custom.system.errors import UserError
from custom.system.manifest import exists
from custom.training.prepare import prepare
from custom.training.resume import resume
from custom.training.settings import Settings
from custom.training.train import train

PONG = find_game("Pong")
LIFE = (0.3, 4.0)  # seconds from the start of a process to its end


def in_child(function: Callable[[], Any], seconds: float | None = None) -> Any:
    """What a function returns in a process of its own; None: it was killed.

    :param seconds: after which it is killed, counted from its start; None: not here
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            try:
                result = function()
            except UserError as error:
                result = error
            except BaseException:
                traceback.print_exc()
                raise
            with os.fdopen(writer, "wb") as file:
                pickle.dump(result, file)
        finally:
            os._exit(0)
    os.close(writer)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reader, "rb") as file:
        content = file.read()
    os.waitpid(pid, 0)
    return pickle.loads(content) if content else None


def written(run: Run) -> str:
    """Digest of agents, games and evaluations in a finished run's folder, and of nothing else.

    :raises ValueError: something is left behind, or the run is not finished
    """
    left = [str(path) for path in run.path.rglob(".*")]
    if run.facts["state"] != "finished" or left or run.saved_state.exists():
        raise ValueError(f"{run.path}: {run.facts['state']}, {left}")
    digest = hashlib.sha256()
    agents = (run.model("final"), run.path / BEST, *run.checkpoints())
    for agent in filter(Path.is_file, agents):  # the best one may have found no room
        with ZipFile(agent) as archive:
            for name in ("policy.pth", "policy.optimizer.pth"):
                digest.update(archive.read(name))
    for name in ("training_games.csv", "evaluations.npz"):
        digest.update((run.path / name).read_bytes())
    for monitor in sorted(run.path.glob("*.monitor.csv")):  # their last column is a time
        lines = monitor.read_text().splitlines()[1:]
        digest.update(repr([line.rpartition(",")[0] for line in lines]).encode())
    return digest.hexdigest()


def main() -> int:
    """Kill, resume, compare; the last line tells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--recipe", default="dqn")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    th.set_num_threads(1)
    rng, began = random.Random(args.seed), time.monotonic()
    recipe = load_recipe(args.recipe, PONG).with_budget(args.steps)

    def go_on() -> bool:
        train(resume(open_run(folder), "cpu"))
        return True

    def begin() -> bool:
        return start(logs)

    def start(logs: Path) -> bool:
        engine = Engine(n_envs=8, workers=1, threads=1)
        how = {"eval_freq": args.steps // 4, "eval_episodes": 1, "save_freq": 80}
        train(prepare(recipe, PONG, Settings(args.seed, logs, "cpu", engine=engine, **how)))
        return True

    with tempfile.TemporaryDirectory() as name:
        logs = Path(name) / "killed"
        folder = logs / args.recipe / recipe.algo / f"{PONG.folder_name}_1"
        finished = kills = resumes = repeated = 0
        while not finished:
            can_resume = exists(folder / "state")
            life = rng.uniform(*LIFE) if kills < args.kills else None
            if not can_resume:  # it was killed before its first save
                shutil.rmtree(logs, ignore_errors=True)
            finished = in_child(go_on if can_resume else begin, life)
            if isinstance(finished, UserError):
                print(f"error: {finished}")
                return 1
            kills += not finished
            resumes += can_resume
        facts = open_run(folder).facts
        starts = [entry["steps"] for entry in facts.get("resumed", [])]
        repeated = sum(a == b for a, b in pairwise(starts))
        in_child(lambda: start(Path(name) / "whole"))
        whole = Path(name) / "whole" / folder.relative_to(logs)
        is_equal = written(open_run(folder)) == written(open_run(whole))
    result = {"kills": kills, "resumes": resumes, "resumed_from_the_same_state": repeated}
    result |= {"steps": args.steps, "equal": is_equal, "seconds": round(time.monotonic() - began)}
    print(json.dumps(result))
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
