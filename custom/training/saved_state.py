"""Save the state of a training between two rollouts and load it, so that it resumes exactly.

The state is the learner with its optimizer and counters, the replay buffer, the random number
generators and the games. Files hold tensors and plain values only, which are read without running
code.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv

from custom.learner.engine import Engine
from custom.learner.nan_guard import non_finite_parameter
from custom.learner.off_policy import AtariOffPolicy
from custom.replay.buffer import FrameReplayBuffer
from custom.replay.files import load_steps, save_steps
from custom.runs.folder import BEST, EVALUATIONS_FILE, GAMES_FILE, Run
from custom.system.console import say
from custom.system.files import atomic_file, copy_file, sync
from custom.system.manifest import Files, checksum, commit, sound_version, sweep
from custom.training.callbacks import PeriodicCallback, StopTraining
from custom.training.saved_games import Plain, games_state, restore_games, to_numpy, to_plain
from custom.training.status import Status

FORMAT = 3
FIXED = ("algo", "env_id", "seed", "n_timesteps", "eval_freq", "save_freq", "eval_protocol")
MACHINE = (OSError, MemoryError, th.OutOfMemoryError)  # errors that say nothing of the state
STEPS = "replay-"  # names of the files of the replay buffer begin so
RECORDS = (GAMES_FILE, "*.monitor.csv")  # to which a training appends
COPIED = (BEST, EVALUATIONS_FILE)  # which it replaces
LARGEST = 10**10  # bytes of a replay buffer that is saved unless asked for
ROOM = 4  # times the replay buffer: what the files of two versions can take while one is written
COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "_current_progress_remaining",
    "exploration_rate",
)


class StateSaver(PeriodicCallback):
    """Saves the state between rollouts: before each period ends, and when a stop was requested.

    Evaluations begin when a period ends, so that one that is broken off is repeated from the state
    just before it. A requested stop ends the training here.

    :param saved: the state from which the training resumes; None: a new run
    :param rows: number of rows that were tracked so far
    :raises StopTraining: at the start of a rollout, if a stop was requested
    """

    model: AtariOffPolicy

    def __init__(
        self,
        run: Run,
        freq: int,
        status: Status,
        saved: SavedState | None,
        rows: Callable[[], int],
    ) -> None:
        super().__init__(freq)
        self.run = run
        self.status = status
        self._rows = rows
        self._random = saved.content["random"] if saved else None
        self._steps = saved.steps if saved else {}
        self._saved_at = saved.content["counters"]["num_timesteps"] if saved else None
        self._is_due = False

    def on_period(self) -> None:
        """Save at the start of the next rollout, if a rollout has no fixed number of steps."""
        self._is_due = not self._rollout

    @property
    def _rollout(self) -> int:
        """Steps of a rollout; 0: it ends with an episode."""
        frequency = self.model.train_freq
        assert isinstance(frequency, TrainFreq)
        is_steps = frequency.unit == TrainFrequencyUnit.STEP
        return frequency.frequency * self.model.n_envs if is_steps else 0

    def _on_rollout_start(self) -> None:
        stop = self.status.stop_requested
        if self._random is not None:
            set_random_state(self.model, self._random)
            self._random = None
        elif (self._is_due or stop or self._period_ends()) and not self.status.evaluation_cut_short:
            self._save()
        self._is_due = False
        if stop:
            raise StopTraining

    def _period_ends(self) -> bool:
        """Whether the coming rollout ends a period."""
        return bool(self._rollout) and self.model.num_timesteps + self._rollout >= self._next

    def _save(self) -> None:
        if self.model.num_timesteps == self._saved_at:
            return
        if non_finite_parameter(self.model.policy):  # on a GPU, updates may not be checked yet
            return
        try:
            facts = {"clock": self.status.clock.state(), "rows": self._rows()}
            self._steps = save_state(self.model, self.run, facts, self._steps)
            self._saved_at = self.model.num_timesteps
        except OSError as error:  # a full disk may have room again the next time
            steps = self.model.num_timesteps
            say(f"step {steps:,}: state not saved: {error}; the training continues")


def is_cheap(model: AtariOffPolicy, folder: Path) -> bool:
    """Whether the state of a training can be saved, and takes little of the disk."""
    replay = model.replay_buffer
    if not isinstance(replay, FrameReplayBuffer):
        return False
    size = replay.ring.frames.nbytes + replay.facts.nbytes
    return size < min(LARGEST, shutil.disk_usage(folder).free / ROOM)


def can_be_saved(engine: Engine, replay_buffer_class: str) -> bool:
    """Whether the replay buffer is a `FrameReplayBuffer`, which can be saved."""
    return engine.buffer == "frames" and not replay_buffer_class


@dataclass(frozen=True)
class SavedState:
    """A state that was loaded.

    :param content: of the learner's file
    :param steps: files of the replay buffer
    :param problem: what is wrong with a newer state; empty: there is none
    """

    content: dict[str, Plain]
    steps: Files
    problem: str


def save_state(model: AtariOffPolicy, run: Run, facts: dict[str, Plain], before: Files) -> Files:
    """Write the state between two rollouts; of the replay buffer only what is new.

    :param facts: plain values that belong to it: the clock, the number of tracked rows
    :param before: files of the replay buffer that are there
    :return: files of the replay buffer that are there now
    :raises OSError: no room or no permission; an earlier state is unharmed
    """
    env, replay = _env_and_replay(model)
    folder, added, now = run.saved_state, replay.ring.added, model.num_timesteps
    folder.mkdir(exist_ok=True)
    sweep(folder)
    records = [path for pattern in RECORDS for path in sorted(run.path.glob(pattern))]
    for path in records:
        sync(path)
    oldest = added - replay.buffer_size
    first = max(map(_end, before), default=0)
    if first < oldest:  # much was played since, for want of room on the disk
        before, first = {}, max(oldest, 0)
    path = folder / f"{STEPS}{added}.npy"
    save_steps(replay, first, path)
    steps = {**before, path.name: checksum(path)}
    steps = {name: digest for name, digest in steps.items() if _end(name) > oldest}
    content = {
        **facts,
        "format": FORMAT,
        "parameters": model.get_parameters(),
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "recent": to_plain([*(model.ep_info_buffer or ())]),
        "observation": to_plain(model._last_obs),
        "games": games_state(env),
        "random": random_state(model),
        "replay": {"added": added, "settings": replay.settings(), "extra": replay.extra()},
        "run": _identity(run),
        "records": [(path.name, path.stat().st_size, checksum(path)) for path in records],
    }
    buffer = io.BytesIO()  # writing to a file, PyTorch hides the error of a full disk
    th.save(content, buffer)
    learner = folder / f"learner-{now}.pt"
    with atomic_file(learner) as file:
        file.write(buffer.getbuffer())
    files = {**steps, learner.name: checksum(learner)}
    for name in COPIED:
        if (run.path / name).is_file():
            copy = folder / f"{now}-{name}"
            copy_file(run.path / name, copy)
            files[copy.name] = checksum(copy)
    commit(folder, files)
    return steps


def load_state(model: AtariOffPolicy, run: Run) -> SavedState:
    """Load a saved state into a new model of the same recipe, for `continue_learning`.

    Games in the run folder that are newer are cut off; evaluations and the best agent are put back.

    :raises OSError: a file cannot be read
    :raises Exception: of any other kind: the state is damaged, or of another recipe
    """
    env, _ = _env_and_replay(model)
    files, problem, content = _read(run, adopt=True)
    identity = _identity(run)
    if content.get("run", identity) != identity:
        raise ValueError("recipe.yml or run.json has changed since it was written")
    for record, size, digest in content["records"]:
        if checksum(run.path / record, size) != digest:
            raise ValueError(f"{record} has changed since it was written")
    steps = _load_learnt(model, run, files, content)
    for name in COUNTERS:
        if hasattr(model, name):
            setattr(model, name, content["counters"][name])
    size = model._stats_window_size
    model.ep_info_buffer = deque(to_numpy(content["recent"]), maxlen=size)
    model.ep_success_buffer = deque(maxlen=size)
    restore_games(env, content["games"])
    model._last_obs = to_numpy(content["observation"])
    for record, size, _ in content["records"]:
        os.truncate(run.path / record, size)
    for name in COPIED:
        copy = run.saved_state / f"{model.num_timesteps}-{name}"
        if copy.name in files:
            copy_file(copy, run.path / name)
        else:
            (run.path / name).unlink(missing_ok=True)
    return SavedState(content, steps, problem)


def load_learnt(model: AtariOffPolicy, run: Run) -> None:
    """Load the network, the optimizer and the replay of a saved state, for a new training.

    :raises Exception: as `load_state`
    """
    files, problem, content = _read(run, adopt=False)
    if problem:
        say(f"the newest state is damaged ({problem}): the one before it is taken")
    _load_learnt(model, run, files, content)


def _read(run: Run, adopt: bool) -> tuple[Files, str, dict[str, Plain]]:
    """Files of the newest sound state, what is wrong with a newer one, and the learner's file."""
    files, problem = sound_version(run.saved_state, adopt)
    # Reading from a file, PyTorch turns disk errors into those of a damaged file.
    name = next(name for name in files if name.startswith("learner-"))
    learner = io.BytesIO((run.saved_state / name).read_bytes())
    content = dict(th.load(learner, map_location="cpu", weights_only=True))
    if content["format"] != FORMAT:
        raise ValueError("it was saved by another version of this project")
    return files, problem, content


def _load_learnt(model: AtariOffPolicy, run: Run, files: Files, content: dict[str, Plain]) -> Files:
    """:return: files of the replay buffer"""
    _, replay = _env_and_replay(model)
    saved = content["replay"]
    if saved["settings"] != replay.settings():
        raise ValueError(f"its replay buffer has {saved['settings']}, not {replay.settings()}")
    model.set_parameters(content["parameters"], device=model.device)
    steps = {name: files[name] for name in files if name.startswith(STEPS)}
    paths = [run.saved_state / name for name in sorted(steps, key=_end)]
    load_steps(replay, saved["added"], paths)
    replay.set_extra(saved["extra"])
    return steps


def _identity(run: Run) -> str:
    """Digest of the recipe and of the facts that do not change during a run."""
    engine = {k: v for k, v in run.facts["engine"].items() if k not in ("threads", "workers")}
    facts = [run.facts.get(name) for name in FIXED]
    text = json.dumps([engine, facts, run.hyperparams.given], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _end(name: str) -> int:
    """The first step that is not in a file of the replay buffer any more."""
    return int(name.removeprefix(STEPS).removesuffix(".npy"))


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
