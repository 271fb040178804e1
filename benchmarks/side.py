"""One training whose speed is measured, in a process of its own: by the zoo, or by this project.

The zoo is run by its own `train` command's function, unchanged; its YAML file names `Clock` as a
callback, as any user's may.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch as th
import yaml
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

OUTPUT = "BENCHMARK "
PARTS = {  # where a step's time goes: methods of the model, its replay and its environment
    "choose actions": ("model", "predict"),
    "play": ("env", "step"),
    "store": ("model", "_store_transition"),
    "sample": ("replay_buffer", "sample"),
    "update, sampling included": ("model", "train"),
}


class Clock(BaseCallback):
    """Prints the steps a second since learning began, and the memory, as one line of JSON."""

    model: DQN
    parts: dict[str, float] | None = None

    def _on_training_start(self) -> None:
        self._started: tuple[float, int] | None = None
        if self.parts is not None:
            _time(self.model, self.parts)

    def _on_step(self) -> bool:
        # A tenth of the warm-up more, in which caches fill and graphs are captured.
        learning = self.num_timesteps > self.model.learning_starts * 1.1
        if learning and self._started is None:
            _wait_for_gpu()
            self._started = (time.perf_counter(), self.num_timesteps)
            if self.parts is not None:
                self.parts.clear()
        return True

    def _on_training_end(self) -> None:
        if self._started is None:
            return
        _wait_for_gpu()
        if self.parts is not None:
            for owner, method in _owners(self.model):
                delattr(owner, method)  # the zoo pickles the model
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
        if self.parts is not None:
            parts = {name: spent / steps * 1000 for name, spent in self.parts.items()}
            result["ms_per_step"] = {**parts, "everything": seconds / steps * 1000}
        print(OUTPUT + json.dumps(result), flush=True)


def _wait_for_gpu() -> None:
    if th.cuda.is_available():
        th.cuda.synchronize()


def _owners(model: Any) -> list[tuple[Any, str]]:
    owners = [
        (model if o == "model" else getattr(model, o), method) for o, method in PARTS.values()
    ]
    # This project's replay is drawn from and gathered in two calls.
    own = {"sample": "gather"} if hasattr(model.replay_buffer, "gather") else {}
    return [(owner, own.get(method, method)) for owner, method in owners]


def _time(model: Any, spent: dict[str, float]) -> None:
    """Replace the methods of `PARTS` by ones that add up their time."""

    def wrap(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - started

        return timed

    for name, (owner, method) in zip(PARTS, _owners(model), strict=True):
        setattr(owner, method, wrap(getattr(owner, method), name))


@contextmanager
def _recipe(values: dict[str, Any], name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.yml"
        file.write_text(yaml.safe_dump({"atari": values}))
        yield file


def zoo(game: str, values: dict[str, Any], seed: int, **_: Any) -> None:
    """As ``python -m rl_zoo3.train --algo dqn``, without its evaluations."""
    from rl_zoo3.train import train

    values = {**values, "callback": "benchmarks.side.Clock"}
    with _recipe(values, "zoo") as file:
        flags = ["--algo", "dqn", "--env", f"{game}NoFrameskip-v4", "--conf-file", str(file)]
        more = ["--eval-freq", "-1", "--seed", str(seed), "--log-folder", str(file.parent)]
        sys.argv = ["rl_zoo3.train", *flags, *more, "--verbose", "0"]
        train()


def ours(game: str, values: dict[str, Any], seed: int, engine: dict[str, Any]) -> None:
    """As `make train`, with its callbacks, without evaluations within the measured time."""
    from custom.learner.engine import Engine
    from custom.learner.update import Update
    from custom.recipe.games import find_game
    from custom.recipe.recipe import load_recipe
    from custom.training.prepare import prepare
    from custom.training.settings import Settings

    with _recipe(values, "ours") as file:
        found = find_game(game)
        recipe = load_recipe(str(file), found)
        logs, never = file.parent / "logs", 10**12
        settings = Settings(seed, logs, eval_freq=never, save_freq=never, engine=Engine(**engine))
        if os.environ.get("EAGER"):  # for the comparison with captured updates
            Update.capture = lambda *_: None  # type: ignore[method-assign]
        training = prepare(recipe, found, settings)
        training.model.learn(recipe.n_timesteps, [*training.callbacks, Clock()])


if __name__ == "__main__":
    side, arguments = sys.argv[1], json.loads(sys.argv[2])
    if arguments.pop("profile"):
        from benchmarks import side as module  # the zoo imports Clock from there

        module.Clock.parts = Clock.parts = {}
    sides: dict[str, Callable[..., None]] = {"zoo": zoo, "ours": ours}
    sides[side](**arguments)
