"""The single-frame replay against SB3's, both filled with the same real play, and its memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecEnv

from custom.env.games import make_games
from custom.recipe.games import find_game
from custom.replay import memory
from custom.replay.buffer import FrameReplayBuffer, bytes_per_step
from custom.replay.files import load_steps, save_steps
from custom.system.errors import UserError
from tests.conftest import WHOLE, Patch, typed

SIZE = 300
OURS = "custom.wrappers.DeepMindAtariWrapper"
Step = tuple[Any, ...]


def play(env: VecEnv, steps: int, seed: int = 0) -> Iterator[Step]:
    """What SB3's `collect_rollouts` hands to a replay, over random actions."""
    rng = np.random.default_rng(seed)
    obs = np.array(env.reset())
    for _ in range(steps):
        action = rng.integers(env.action_space.n, size=env.num_envs)
        new_obs, reward, done, infos = env.step(action)
        new_obs = np.array(new_obs)
        next_obs = new_obs.copy()
        for i in np.flatnonzero(done):
            next_obs[i] = infos[i]["terminal_observation"]
        yield obs, next_obs, action, reward, done, infos
        obs = new_obs


def recorded(game: str, steps: int, n_envs: int = 1, wrapper: Any = OURS) -> list[Step]:
    entry = {**WHOLE, "env_wrapper": wrapper}
    env = make_games(find_game(game), typed(entry), n_envs, seed=3)
    taken = list(play(env, steps))
    env.close()
    return taken


@pytest.fixture(scope="module")
def breakout() -> list[Step]:
    return recorded("Breakout", 400, n_envs=3)


SPACES = (spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(4))


def both(n_envs: int, n_steps: int = 1, size: int = SIZE) -> tuple[FrameReplayBuffer, ReplayBuffer]:
    arguments = {"device": "cpu", "n_envs": n_envs}
    several = {"n_steps": n_steps, "gamma": 0.97} if n_steps > 1 else {}
    theirs = NStepReplayBuffer if several else ReplayBuffer
    ours = FrameReplayBuffer(size, *SPACES, **arguments, **several)
    return ours, theirs(size, *SPACES, **arguments, **several)


def fill(steps: Iterable[Step], *buffers: ReplayBuffer) -> None:
    for step in steps:
        for buffer in buffers:
            buffer.add(*step)


def assert_same_samples(ours: FrameReplayBuffer, theirs: ReplayBuffer, batch: int = 200) -> None:
    np.random.seed(7)
    mine = ours.sample(batch)
    np.random.seed(7)
    others = theirs.sample(batch)
    for name, theirs_ in others._asdict().items():
        ours_ = getattr(mine, name)
        if theirs_ is None:
            assert ours_ is None, name
            continue
        assert ours_.dtype == theirs_.dtype, name
        assert th.equal(ours_, theirs_), name


@pytest.mark.parametrize("game", ["Pong", "Breakout", "SpaceInvaders", "Freeway"])
@pytest.mark.parametrize("wrapper", [OURS, WHOLE["env_wrapper"]], ids=["deepmind", "sb3"])
def test_it_samples_what_sb3s_samples(game: str, wrapper: Any) -> None:
    ours, theirs = both(n_envs=2)
    for number, step in enumerate(recorded(game, 400, n_envs=2, wrapper=wrapper)):
        fill([step], ours, theirs)
        if number in (0, 3, 60, 149, 150, 151, 260) or number > 395:
            assert_same_samples(ours, theirs)


@pytest.mark.parametrize("n_steps", [2, 3, 7])
def test_returns_of_several_steps_are_sb3s(breakout: list[Step], n_steps: int) -> None:
    ours, theirs = both(3, n_steps)
    for number, step in enumerate(breakout):
        fill([step], ours, theirs)
        if number in (0, 5, 99, 100, 101) or number % 37 == 0:
            assert_same_samples(ours, theirs)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_a_game_that_was_cut_off_is_no_terminal(n_steps: int) -> None:
    ours, theirs = both(1, n_steps)
    for _ in range(8):  # so that steps are overwritten, too
        game = recorded("Pong", 50)
        *last, _, infos = game[-1]
        game[-1] = (*last, np.array([True]), [{**infos[0], "TimeLimit.truncated": True}])
        fill(game, ours, theirs)
        assert_same_samples(ours, theirs)
    assert ours.facts[49, 0, 2] == ours.facts[49, 0, 3] == 1
    assert ours.gather(th.tensor([49]), th.tensor([0])).dones.item() == 0


def test_last_frames_find_room_however_often_games_end() -> None:
    ours, theirs = both(1, size=40)
    blank = np.zeros((1, 4, 84, 84), np.uint8)
    for number in range(100):
        obs, last = blank.copy(), blank.copy()
        obs[0, 3], last[0, 2], last[0, 3] = number, number, number + 100
        step = (obs, last, np.array([1]), np.ones(1), np.array([True]), [{}])
        fill([step], ours, theirs)
    assert_same_samples(ours, theirs)
    assert len(ours.ring.ends) == 64  # 40 are in use


def test_what_it_cannot_keep_is_refused() -> None:
    three, floats = (3, np.uint8, "4 stacked frames"), (4, np.float32, "float32")
    for frames, dtype, named in (three, floats):
        with pytest.raises(ValueError, match=named):
            FrameReplayBuffer(9, spaces.Box(0, 255, (frames, 84, 84), dtype), SPACES[1], "cpu")
    ours, _ = both(1)
    full = np.full((1, 4, 84, 84), 9, np.uint8)
    step = (full, full, np.array([1]), np.ones(1), np.array([True]), [{}])
    ours.add(*step)
    with pytest.raises(ValueError, match="blank frames"):
        ours.add(*step)


def test_a_step_takes_an_eighth_of_sb3s_and_is_drawn_alike(breakout: list[Step]) -> None:
    ours, theirs = both(3, size=3000)
    fill(breakout[:50], ours)
    ring = ours.ring
    held = sum(t.nbytes for t in (ring.frames, ring.ends, ring.older, ring.end_of, ours.facts))
    sb3 = theirs.observations.nbytes + theirs.next_observations.nbytes
    assert held < sb3 / 7.7  # an eighth but for a 64th that is kept of the ends of games
    assert bytes_per_step(SPACES[0], 4) * 3000 == pytest.approx(held, rel=0.01)
    ours, _ = both(3)
    fill(breakout[:40], ours)
    th.manual_seed(0)
    positions, envs = ours.draw(120_000, on_device=True)
    counts = np.bincount(positions * 3 + envs, minlength=120)
    assert len(counts) == 120  # 40 steps of 3 environments, none beyond
    statistic = ((counts - 1000) ** 2 / 1000).sum()
    assert statistic < 174  # chi-squared with 119 degrees of freedom: p = 0.001


@pytest.mark.parametrize("saves", [[1, 2, 3], [40, 90, 130, 131, 180, 350], [0, 200, 350]])
def test_a_replay_in_pieces_goes_on(breakout: list[Step], saves: list[int], tmp_path: Path) -> None:
    ours, theirs = both(3)
    files: list[Path] = []
    for at, step in enumerate(breakout):
        if at in saves:
            first = max(int(files[-1].stem) if files else 0, at - ours.buffer_size)
            files.append(tmp_path / f"{at}.npy")
            save_steps(ours, first, files[-1])
        if at < saves[-1]:
            fill([step], ours, theirs)
    again, _ = both(3)
    load_steps(again, saves[-1], files)
    assert again.size() == ours.size()
    fill(breakout[saves[-1] :], again, theirs)
    assert_same_samples(again, theirs)


def test_no_return_goes_from_a_game_that_was_broken_off_into_another() -> None:
    first, other = recorded("Pong", 20), recorded("Breakout", 20)
    whole = FrameReplayBuffer(SIZE, *SPACES, device="cpu", n_steps=5)
    fill(first, whole)
    whole.cut_off()
    newest = whole.gather(th.tensor([19, 17]), th.tensor([0, 0]))
    fill(other, whole)
    later = whole.gather(th.tensor([19, 17]), th.tensor([0, 0]))
    assert all(th.equal(before, after) for before, after in zip(newest, later, strict=True))
    assert not later.dones.any()  # what would have come is still worth something
    assert later.next_observations[0, -1].numpy().tobytes() == first[-1][1][0, -1].tobytes()
    start = whole.gather(th.tensor([20]), th.tensor([0])).observations[0]
    assert not start[:-1].any()


ENTRY = {"buffer_size": 10**6, "n_timesteps": 10**7, "frame_stack": 4}
STACK = spaces.Box(0, 255, (4, 84, 84), np.uint8)


@pytest.mark.parametrize("optimize", [True, False])
def test_a_step_takes_what_sb3_allocates_for_it(optimize: bool) -> None:
    buffer = ReplayBuffer(
        100,
        STACK,
        spaces.Discrete(6),
        optimize_memory_usage=optimize,
        handle_timeout_termination=not optimize,
    )
    arrays = [array for array in vars(buffer).values() if isinstance(array, np.ndarray)]
    taken = sum(array.nbytes for array in arrays)
    kwargs = {"handle_timeout_termination": not optimize}
    values = typed(ENTRY | {"optimize_memory_usage": optimize, "replay_buffer_kwargs": kwargs})
    assert memory.step_bytes(STACK, values, frames=False) * 100 == taken


def checked(monkeypatch: Patch, free: float, frames: bool, **values: Any) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: int(free))
    memory.check_replay(STACK, typed(ENTRY | values), Path("x.yml"), frames=frames)


def test_a_replay_that_does_not_fit_is_refused_with_what_does(monkeypatch: Patch) -> None:
    checked(monkeypatch, 10e9, frames=False, buffer_size=100_000)
    checked(monkeypatch, 10e9, frames=True)  # single frames fit where stacks do not
    checked(monkeypatch, 10e9, frames=False, n_timesteps=20_000)  # as many steps as are played
    with pytest.raises(
        UserError, match=r"1,000,000 steps needs 56\.5 GB and 9\.0 GB are free"
    ) as error:
        checked(monkeypatch, 10e9, frames=False)
    assert "buffer_size: 159000" in str(error.value)  # 9e9 / 56,468 bytes a step
    named = "stable_baselines3.common.buffers.ReplayBuffer"
    with pytest.raises(UserError, match=r"needs 56\.5 GB"):
        checked(monkeypatch, 10e9, frames=True, replay_buffer_class=named)
    with pytest.raises(UserError, match=r"needs 7\.2 GB and 3\.0 GB are free.*417,000"):
        checked(monkeypatch, 4e9, frames=True)


@pytest.mark.parametrize(
    ("limit", "free"),
    [("3000\n", range(2400, 2401)), ("max\n", range(10**6, 10**15))],
    ids=["limited", "unlimited"],
)
def test_a_memory_limit_counts(limit: str, free: range, monkeypatch: Patch, tmp_path: Path) -> None:
    for name, text in {"max": limit, "now": "1000\n", "memory.stat": "inactive_file 400\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CGROUPS", ((str(tmp_path), "max", "now"),))
    assert memory.available_memory() in free
