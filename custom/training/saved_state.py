"""Save the state of a training between two rollouts and load it, so that it resumes exactly.

The state is the learner with its optimizer and counters, the replay buffer, the random number
generators and the games. Files hold tensors and plain values only, which are read without running
code.
"""

from __future__ import annotations

import io
import random
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from custom.learner.engine import Engine
from custom.learner.nan_guard import non_finite_parameter
from custom.learner.off_policy import AtariOffPolicy
from custom.replay.buffer import FrameReplayBuffer
from custom.replay.files import load_replay, save_replay
from custom.runs.folder import BEST, Run
from custom.system.console import say
from custom.system.files import atomic_file, atomic_folder, copy_file
from custom.training.callbacks import PeriodicCallback, StopTraining
from custom.training.saved_games import Plain, games_state, restore_games, to_numpy, to_plain
from custom.training.status import Status

LEARNER, REPLAY = "learner.pt", "replay"
FORMAT = 2
COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "_current_progress_remaining",
    "exploration_rate",
)


class StateSaver(PeriodicCallback):
    """Saves the state between rollouts: after each period, and when a stop was requested.

    A requested stop ends the training here. If it ended an evaluation early, no state is saved: the
    one before that evaluation stays the newest.

    :param random: state of the random number generators to start with; None: leave them
    :raises StopTraining: at the start of a rollout, if a stop was requested
    """

    model: AtariOffPolicy

    def __init__(
        self,
        run: Run,
        freq: int,
        status: Status,
        random: dict[str, Plain] | None = None,
    ) -> None:
        super().__init__(freq)
        self.run = run
        self.status = status
        self._random = random
        self._is_due = False

    def on_period(self) -> None:
        """Save at the start of the next rollout; this one is not complete."""
        self._is_due = True

    def _on_rollout_start(self) -> None:
        stop = self.status.stop_requested
        if self._random is not None:
            set_random_state(self.model, self._random)
            self._random = None
        elif (self._is_due or stop) and not self.status.evaluation_cut_short:
            self._save()
        self._is_due = False
        if stop:
            raise StopTraining

    def _save(self) -> None:
        if non_finite_parameter(self.model.policy):  # on a GPU, `NanGuard` may not have checked yet
            return
        try:
            clock = self.status.clock.state()
            save_state(self.model, self.run.saved_state, self.run.path / BEST, clock)
        except OSError as error:  # a full disk may have room again the next time
            steps = self.model.num_timesteps
            say(f"step {steps:,}: state not saved: {error}; the training continues")


def can_be_saved(engine: Engine, replay_buffer_class: str) -> bool:
    """Whether the replay buffer is a `FrameReplayBuffer`, which can be saved."""
    return engine.buffer == "frames" and not replay_buffer_class


def save_state(model: AtariOffPolicy, folder: Path, best: Path, clock: dict[str, Any]) -> None:
    """Write the state atomically; call it between two rollouts.

    :param best: file of the best agent; copied into the folder if it exists
    :param clock: `Clock.state`
    :raises OSError: no room or no permission; an earlier state is unharmed
    """
    env, replay = _env_and_replay(model)
    content = {
        "clock": clock,
        "format": FORMAT,
        "parameters": model.get_parameters(),
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "recent": to_plain([*(model.ep_info_buffer or ())]),
        "observation": to_plain(model._last_obs),
        "games": games_state(env),
        "random": random_state(model),
    }
    buffer = io.BytesIO()  # writing to a file, PyTorch hides the error of a full disk
    th.save(content, buffer)
    with atomic_folder(folder) as partial:
        with atomic_file(partial / LEARNER) as file:
            file.write(buffer.getbuffer())
        save_replay(replay, partial / REPLAY)
        if best.is_file():
            copy_file(best, partial / BEST)


def load_state(model: AtariOffPolicy, folder: Path) -> dict[str, Plain]:
    """Load a saved state into a new model of the same recipe, for `continue_learning`.

    :return: all that was saved
    :raises OSError: a file cannot be read
    :raises Exception: of any other kind: the state is damaged, or of another recipe
    """
    env, replay = _env_and_replay(model)
    # Reading from a file, PyTorch turns disk errors into those of a damaged file.
    learner = io.BytesIO((folder / LEARNER).read_bytes())
    content = th.load(learner, map_location="cpu", weights_only=True)
    if content["format"] != FORMAT:
        raise ValueError("it was saved by another version of this project")
    model.set_parameters(content["parameters"], device=model.device)
    for name in COUNTERS:
        if hasattr(model, name):
            setattr(model, name, content["counters"][name])
    size = model._stats_window_size
    model.ep_info_buffer = deque(to_numpy(content["recent"]), maxlen=size)
    model.ep_success_buffer = deque(maxlen=size)
    load_replay(replay, folder / REPLAY)
    restore_games(env, content["games"])
    model._last_obs = to_numpy(content["observation"])
    return dict(content)


def _env_and_replay(model: AtariOffPolicy) -> tuple[VecEnv, FrameReplayBuffer]:
    assert model.env is not None
    assert isinstance(model.replay_buffer, FrameReplayBuffer)
    return model.env, model.replay_buffer


def random_state(model: AtariOffPolicy) -> dict[str, Plain]:
    """State of all random number generators that a training uses."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, th.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state_all() if th.cuda.is_available() else [],
        "actions": model.action_space.np_random.bit_generator.state,
    }


def set_random_state(model: AtariOffPolicy, state: dict[str, Any]) -> None:
    """Set the generators to a state from `random_state`."""
    name, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    th.set_rng_state(state["torch"])
    if len(state["cuda"]) == th.cuda.device_count():
        th.cuda.set_rng_state_all(state["cuda"])
    else:
        say("GPU count changed: random streams differ from here")
    model.action_space.np_random.bit_generator.state = state["actions"]
