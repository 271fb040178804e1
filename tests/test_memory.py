"""The replay's size, against what SB3 really allocates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

from custom.replay import memory
from custom.system.errors import UserError
from tests.conftest import Patch, typed

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
    assert memory.bytes_per_stacked_step(STACK, optimize) * 100 == taken


def checked(monkeypatch: Patch, free: float, frames: bool, **values: Any) -> None:
    """Check a replay of 1M steps where so many bytes are free."""
    entry = {"buffer_size": 10**6, "n_timesteps": 10**7, "frame_stack": 4, **values}
    monkeypatch.setattr(memory, "available_memory", lambda: int(free))
    memory.check_replay(STACK, typed(entry), Path("x.yml"), frames=frames)


def test_a_replay_that_fits_is_let_through(monkeypatch: Patch) -> None:
    checked(monkeypatch, 10e9, frames=False, buffer_size=100_000)
    checked(monkeypatch, 10e9, frames=True)  # single frames fit where stacks do not
    checked(monkeypatch, 10e9, frames=False, n_timesteps=20_000)  # as many steps as are played


def test_one_that_does_not_is_refused_with_the_largest_that_does(monkeypatch: Patch) -> None:
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
def test_a_limit_of_memory_counts(
    limit: str, free: range, monkeypatch: Patch, tmp_path: Path
) -> None:
    for name, text in {"max": limit, "now": "1000\n", "memory.stat": "inactive_file 400\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CGROUPS", ((str(tmp_path), "max", "now"),))
    assert memory.available_memory() in free
