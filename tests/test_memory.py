"""The replay's size, against what SB3 really allocates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

from custom.replay import memory
from custom.system.errors import UserError
from tests.conftest import typed

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


def test_a_replay_that_fits_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10 * 10**9)
    memory.check_replay(
        STACK, typed({"buffer_size": 100_000, "n_timesteps": 10**7}), Path("x.yml"), frames=False
    )


def test_one_that_does_not_is_refused_with_the_largest_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10 * 10**9)
    with pytest.raises(
        UserError, match=r"1,000,000 steps needs 56\.5 GB and 9\.0 GB are free"
    ) as error:
        memory.check_replay(
            STACK, typed({"buffer_size": 10**6, "n_timesteps": 10**7}), Path("x.yml"), frames=False
        )
    assert "buffer_size: 159000" in str(error.value)  # 9e9 / 56,468 bytes a step


def test_a_short_run_is_asked_only_for_the_steps_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10 * 10**9)
    memory.check_replay(
        STACK, typed({"buffer_size": 10**6, "n_timesteps": 20_000}), Path("x.yml"), frames=False
    )


FRAMES = {"buffer_size": 10**6, "n_timesteps": 10**7, "frame_stack": 4}


def test_single_frames_fit_where_stacks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10 * 10**9)
    memory.check_replay(STACK, typed(FRAMES), Path("x.yml"), frames=True)
    named = {**FRAMES, "replay_buffer_class": "stable_baselines3.common.buffers.ReplayBuffer"}
    for entry, frames in ((FRAMES, False), (named, True)):
        with pytest.raises(UserError, match=r"needs 56\.5 GB"):
            memory.check_replay(STACK, typed(entry), Path("x.yml"), frames)


def test_too_many_single_frames_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 4 * 10**9)
    with pytest.raises(UserError, match=r"needs 7\.2 GB and 3\.0 GB are free.*417,000"):
        memory.check_replay(STACK, typed(FRAMES), Path("x.yml"), frames=True)


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, usage = tmp_path / "max", tmp_path / "current"
    limit.write_text("3000\n")
    usage.write_text("1000\n")
    monkeypatch.setattr(memory, "CGROUP_FILES", ((str(limit), str(usage)),))
    assert memory.available_memory() == 2000


def test_a_container_without_a_limit_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit = tmp_path / "max"
    limit.write_text("max\n")
    monkeypatch.setattr(memory, "CGROUP_FILES", ((str(limit), str(limit)),))
    assert memory.available_memory() > 10**6
