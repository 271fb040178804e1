"""Save the state of a training between two rollouts and load it, so that it resumes exactly.

The state is the learner with its optimizer and counters, the replay buffer, the random number
generators and the games. Files hold tensors and plain values only, which are read without running
code.
"""

import io
import json
import random
import shutil
from collections import deque
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv

from custom.learner.nan_guard import non_finite_parameter
from custom.learner.off_policy import AtariOffPolicy
from custom.replay.buffer import FrameReplayBuffer
from custom.replay.files import load_steps, save_steps
from custom.runs.folder import BEST, EVALUATIONS_FILE, GAMES_FILE, Run
from custom.system.console import say
from custom.system.files import atomic_file
from custom.system.manifest import Files, checksum, commit, sound_version, sweep
from custom.tracking.tracker import Tracker
from custom.training.saved_games import Plain, games_state, restore_games, to_numpy, to_plain
from custom.training.status import Status

FORMAT = 4
FIXED = ("algo", "env_id", "seed", "n_timesteps", "eval_freq", "save_freq", "eval_protocol")
STEPS = "replay-"  # names of the files of the replay buffer begin so
COPIED = (BEST, EVALUATIONS_FILE, GAMES_FILE, "*.monitor.csv")  # of the run folder
ROOM = 4  # times the replay buffer: what the files of two versions can take while one is written
COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "_current_progress_remaining",
    "exploration_rate",
)


class StateSaver(BaseCallback):
    """Saves the state between rollouts: just before a period ends, and when a stop was requested.

    An evaluation runs at the end of a period: an interrupted one is repeated on resume. With
    `train_freq` in episodes the state is saved just after a period.

    :param freq: the period in steps of all environments together
    :param saved: the state from which the training resumes, from `load_state`; None: a new run
    :param tracker: its number of rows is saved, too
    """

    model: AtariOffPolicy

    def __init__(
        self,
        run: Run,
        freq: int,
        status: Status,
        saved: dict[str, Plain] | None,
        tracker: Tracker | None,
    ) -> None:
        super().__init__()
        self.run = run
        self.freq = freq
        self.status = status
        self._tracker = tracker
        self._random = saved["random"] if saved else None
        self._steps: Files = saved["steps"] if saved else {}
        self._saved_at = saved["counters"]["num_timesteps"] if saved else -1

    def _on_rollout_start(self) -> None:
        if self._random is not None:
            set_random_state(self.model, self._random)
            self._random = None
        now, coming = self.model.num_timesteps, _steps_of_a_rollout(self.model)
        is_due = (now + coming) // self.freq > (self._saved_at + coming) // self.freq
        if (is_due or self.status.stop_requested) and not self.status.evaluation_cut_short:
            self._save(now)

    def _on_step(self) -> bool:
        return True

    def _save(self, now: int) -> None:
        if now == self._saved_at or non_finite_parameter(self.model.policy):
            return  # on a GPU, updates may not be checked yet
        self._saved_at = now
        try:
            rows = self._tracker.rows if self._tracker else 0
            facts = {"clock": self.status.clock.state(), "rows": rows}
            self._steps = save_state(self.model, self.run, facts, self._steps)
        except OSError as error:  # a full disk may have room again the next time
            say(f"step {now:,}: state not saved: {error}; the training continues")


def _steps_of_a_rollout(model: AtariOffPolicy) -> int:
    """Steps of all environments together; 0: it ends with an episode."""
    frequency = model.train_freq
    assert isinstance(frequency, TrainFreq)
    is_steps = frequency.unit == TrainFrequencyUnit.STEP
    return frequency.frequency * model.n_envs if is_steps else 0


def can_be_saved(model: AtariOffPolicy, run: Run) -> bool:
    """Whether the replay is a `FrameReplayBuffer` for whose files the disk has room."""
    replay = model.replay_buffer
    if not isinstance(replay, FrameReplayBuffer):
        return False
    room = ROOM * (replay.ring.frames.nbytes + replay.facts.nbytes)
    if room < shutil.disk_usage(run.path).free:
        return True
    say(f"no state is saved: that needs {room / 1e9:.1f} GB of free disk; lower buffer_size")
    return False


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
        "counters": {name: getattr(model, name) for name in COUNTERS},
        "recent": to_plain([*(model.ep_info_buffer or ())]),
        "observation": to_plain(model._last_obs),
        "games": games_state(env),
        "random": random_state(model),
        "replay": {"added": added, "extra": replay.extra()},
        "run": _identity(run),
    }
    buffer = io.BytesIO()  # writing to a file, PyTorch hides the error of a full disk
    th.save(content, buffer)
    learner = folder / f"learner-{now}.pt"
    with atomic_file(learner) as file:
        file.write(buffer.getbuffer())
    files = {**steps, learner.name: checksum(learner)}
    for path in (path for pattern in COPIED for path in run.path.glob(pattern)):
        copy = folder / f"{now}-{path.name}"
        with atomic_file(copy) as file:
            file.write(path.read_bytes())
        files[copy.name] = checksum(copy)
    commit(folder, files)
    return steps


def load_state(model: AtariOffPolicy, run: Run) -> dict[str, Plain]:
    """Load a saved state into a new model of the same recipe, for `continue_learning`.

    Games, evaluations and the best agent in the run folder become those of the state.

    :return: as `load_learnt`
    :raises Exception: the state is damaged, or of another recipe
    """
    env, _ = _env_and_replay(model)
    saved = load_learnt(model, run, adopt=True)
    for name, value in saved["counters"].items():
        setattr(model, name, value)
    size = model._stats_window_size
    model.ep_info_buffer = deque(to_numpy(saved["recent"]), maxlen=size)
    model.ep_success_buffer = deque(maxlen=size)
    restore_games(env, saved["games"])
    model._last_obs = to_numpy(saved["observation"])
    for name in (BEST, EVALUATIONS_FILE):  # there may have been none
        (run.path / name).unlink(missing_ok=True)
    prefix = f"{model.num_timesteps}-"
    for copy in (run.saved_state / name for name in saved["files"] if name.startswith(prefix)):
        # In place: the games have opened their files.
        (run.path / copy.name.removeprefix(prefix)).write_bytes(copy.read_bytes())
    return saved


def load_learnt(model: AtariOffPolicy, run: Run, adopt: bool = False) -> dict[str, Plain]:
    """Load the network, the optimizer and the replay of the newest sound state.

    :param adopt: it becomes the newest one
    :return: what `save_state` wrote into the learner's file; in `files` all files, in `steps` those
        of the replay buffer
    :raises Exception: as `load_state`
    """
    _, replay = _env_and_replay(model)
    files, problem = sound_version(run.saved_state, adopt)
    if problem:
        say(f"the newest state is damaged ({problem}): the one before it is taken")
    # Reading from a file, PyTorch turns disk errors into those of a damaged file.
    name = next(name for name in files if name.startswith("learner-"))
    learner = io.BytesIO((run.saved_state / name).read_bytes())
    saved = dict(th.load(learner, map_location="cpu", weights_only=True))
    if saved["format"] != FORMAT:
        raise ValueError("it was saved by another version of this project")
    if saved["run"] != _identity(run):
        raise ValueError("recipe.yml or run.json has changed since it was written")
    of = saved["replay"]
    model.set_parameters(saved["parameters"], device=model.device)
    steps = {name: files[name] for name in files if name.startswith(STEPS)}
    load_steps(replay, of["added"], [run.saved_state / name for name in sorted(steps, key=_end)])
    replay.set_extra(of["extra"])
    return {**saved, "files": files, "steps": steps}


def _identity(run: Run) -> str:
    """The recipe and the facts that do not change during a run, as text."""
    engine = {k: v for k, v in run.facts["engine"].items() if k not in ("threads", "workers")}
    facts = [run.facts.get(name) for name in FIXED]
    return json.dumps([engine, facts, run.hyperparams.given], sort_keys=True)


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
