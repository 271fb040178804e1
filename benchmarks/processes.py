"""Games in one process and in several: playing alone, and an evaluation.

    python -m benchmarks.processes --out benchmarks/results/processes.json

Rounds alternate; the ratio to one process is taken round by round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecFrameStack, VecTransposeImage

from benchmarks.throughput import RECIPE as VALUES
from benchmarks.throughput import hardware, spread
from custom.env.games import make_games, training_games
from custom.env.workers import usable_cores
from custom.evaluation.protocol import epsilon_greedy, play_games
from custom.learner.dqn import AtariDQN
from custom.recipe.check import check
from custom.recipe.games import Game, find_game

WARM_UP = 50  # steps
RECIPE = check({**VALUES, "n_timesteps": 1}, "dqn")


def one_process_each(game: Game, n_envs: int) -> VecEnv:
    """As SB3's `SubprocVecEnv` plays it."""
    from stable_baselines3.common.atari_wrappers import AtariWrapper

    env = make_vec_env(
        game.env_id, n_envs, 0, wrapper_class=AtariWrapper, vec_env_cls=SubprocVecEnv
    )
    return VecTransposeImage(VecFrameStack(env, 4))


def playing(game: Game, n_envs: int, processes: int, steps: int) -> dict[str, float]:
    """Steps a second of random play, and the seconds until the games were ready.

    :param processes: that play, or -1 for SB3's one a game
    """
    started = time.perf_counter()
    if processes < 0:
        env = one_process_each(game, n_envs)
    else:
        env = training_games(game, RECIPE, n_envs, 0, processes)
    env.reset()
    ready, rng = time.perf_counter() - started, np.random.default_rng(0)
    actions = rng.integers(env.action_space.n, size=(steps + WARM_UP, n_envs))  # type: ignore[attr-defined]
    for row in actions[:WARM_UP]:
        env.step(row)
    started = time.perf_counter()
    for row in actions[WARM_UP:]:
        env.step(row)
    seconds = time.perf_counter() - started
    env.close()
    return {"steps_per_second": n_envs * steps / seconds, "seconds_to_start": ready}


def evaluating(game: Game, model: AtariDQN, episodes: int, processes: int) -> dict[str, Any]:
    """Seconds of an evaluation, with the start of its games, and the scores."""
    started = time.perf_counter()
    env = make_games(game, RECIPE, 8, 7, workers=processes)
    act = epsilon_greedy(model, 0.05, np.random.default_rng(0))
    scores = play_games(act, env, episodes)
    env.close()
    return {"seconds": time.perf_counter() - started, "scores": scores.scores}


def main() -> None:
    """Measure in rounds, print medians, write all figures."""
    flags = argparse.ArgumentParser(
        prog="benchmarks.processes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("--game", default="Pong")
    flags.add_argument("--rounds", type=int, default=5)
    flags.add_argument("--steps", type=int, default=1000, help="of each game")
    flags.add_argument("--episodes", type=int, default=30)
    flags.add_argument("--out", type=Path)
    args = flags.parse_args()
    game, cores = find_game(args.game), usable_cores()
    facts: dict[str, Any] = {"hardware": hardware(), "game": args.game, "playing": {}}
    for n_envs in (2, 4, 8, 64):
        kinds = [1, cores] if n_envs != 8 else [1, cores, -1]
        steps, rounds = max(args.steps * 8 // n_envs, 50) // 2, args.rounds if n_envs < 64 else 1
        runs = [[playing(game, n_envs, kind, steps) for kind in kinds] for _ in range(rounds)]
        facts["playing"][n_envs] = {"processes": kinds, "rounds": runs}
        for i, kind in enumerate(kinds):
            speed = [row[i]["steps_per_second"] for row in runs]
            ratio = [row[i]["steps_per_second"] / row[0]["steps_per_second"] for row in runs]
            start = statistics.median(row[i]["seconds_to_start"] for row in runs)
            name = "SubprocVecEnv" if kind < 0 else f"{kind} processes"
            print(f"{n_envs:3} games, {name:14} {spread(speed, 0):24} steps/s,", end=" ")
            print(f"ratio {spread(ratio, 2)}, start {start:.1f} s", flush=True)
    env = make_games(game, RECIPE, 1, 0)
    model = AtariDQN("CnnPolicy", env, buffer_size=1, seed=0, device="cpu")
    found = [
        [evaluating(game, model, args.episodes, kind) for kind in (1, cores)]
        for _ in range(args.rounds)
    ]
    assert all(one["scores"] == other["scores"] for one, other in found)
    facts["evaluating"] = found
    for i, kind in enumerate((1, cores)):
        seconds = [row[i]["seconds"] for row in found]
        share = [row[i]["seconds"] / row[0]["seconds"] for row in found]
        print(f"{args.episodes} games evaluated, {kind} processes: {spread(seconds)} s,", end=" ")
        print(f"{spread(share, 2)} of one process; equal scores", flush=True)
    if args.out:
        args.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
