"""One training whose speed is measured, in a process of its own: by the zoo, or by this project.

The zoo is run by its own `train` command's function, unchanged; its YAML file names `Clock` as a
callback, as any user's may.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch as th
import yaml
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

OUTPUT = "BENCHMARK "


class Clock(BaseCallback):
    """Prints the steps a second since learning began, and the memory, as one line of JSON."""

    model: DQN

    def _on_training_start(self) -> None:
        self._started: tuple[float, int] | None = None

    def _on_step(self) -> bool:
        # A tenth of the warm-up more, in which caches fill and graphs are captured.
        learning = self.num_timesteps > self.model.learning_starts * 1.1
        if learning and self._started is None:
            _wait_for_gpu()
            self._started = (time.perf_counter(), self.num_timesteps)
        return True

    def _on_training_end(self) -> None:
        if self._started is None:
            return
        _wait_for_gpu()
        began, first = self._started
        self._started = None  # the zoo ends callbacks twice
        seconds, steps = time.perf_counter() - began, self.num_timesteps - first
        usage = resource.getrusage(resource.RUSAGE_SELF)
        result: dict[str, Any] = {
            "steps_per_second": steps / seconds,
            "steps": steps,
            "seconds": seconds,
            "peak_rss_gb": usage.ru_maxrss * 1024 / 1e9,
            "peak_gpu_gb": th.cuda.max_memory_allocated() / 1e9 if th.cuda.is_available() else None,
        }
        print(OUTPUT + json.dumps(result), flush=True)


def _wait_for_gpu() -> None:
    if th.cuda.is_available():
        th.cuda.synchronize()


def zoo(game: str, file: Path, seed: int) -> None:
    """As ``python -m rl_zoo3.train --algo dqn``, without its evaluations."""
    from rl_zoo3.train import train

    flags = ["--algo", "dqn", "--env", f"{game}NoFrameskip-v4", "--conf-file", str(file)]
    more = ["--eval-freq", "-1", "--seed", str(seed), "--log-folder", str(file.parent)]
    sys.argv = ["rl_zoo3.train", *flags, *more, "--verbose", "0"]
    train()


def ours(game: str, file: Path, seed: int, engine: dict[str, Any]) -> None:
    """As `make train`, with its callbacks, without evaluations within the measured time."""
    from custom.learner.engine import Engine
    from custom.learner.update import Update
    from custom.recipe.games import find_game
    from custom.recipe.recipe import load_recipe
    from custom.training.prepare import prepare
    from custom.training.settings import Settings

    found = find_game(game)
    recipe = load_recipe(str(file), found)
    logs, never = file.parent / "logs", 10**12
    settings = Settings(seed, logs, eval_freq=never, save_freq=never, engine=Engine(**engine))
    if os.environ.get("EAGER"):  # for the comparison with captured updates
        Update.capture = lambda *_: None  # type: ignore[method-assign]
    training = prepare(recipe, found, settings)
    training.model.learn(recipe.n_timesteps, [*training.callbacks, Clock()])


def main(side: str, game: str, values: dict[str, Any], seed: int, engine: dict[str, Any]) -> None:
    """Train once with a recipe's values."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{side}.yml"
        if side == "zoo":
            values = {**values, "callback": "benchmarks.side.Clock"}
        file.write_text(yaml.safe_dump({"atari": values}))
        if side == "zoo":
            zoo(game, file, seed)
        else:
            ours(game, file, seed, engine)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
