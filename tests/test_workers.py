"""Games in several processes: the same as in one, and no process outlives its parent."""

import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from custom.env.games import make_games
from custom.env.workers import WorkerVecEnv
from custom.recipe.games import find_game
from custom.system.errors import UserError
from tests.conftest import python, start, typed

RECIPE = typed({})


def timeless(info: dict[str, Any]) -> dict[str, Any]:
    if "episode" in info:
        info = {**info, "episode": {**info["episode"], "t": 0.0}}
    return info


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(np.array_equal(one, other))


def games(name: str, n_envs: int, workers: int, **more: Any) -> VecEnv:
    more |= {"workers": workers, "wrappers": RECIPE.env_wrapper}
    return make_games(find_game(name), RECIPE, n_envs, 5, **more)


def test_games_in_several_processes_are_those_of_one() -> None:
    with closing(games("Breakout", 8, 1)) as one, closing(games("Breakout", 8, 3)) as several:
        assert isinstance(one.unwrapped, DummyVecEnv)
        assert isinstance(several.unwrapped, WorkerVecEnv)
        assert np.array_equal(one.reset(), several.reset())
        rng, ends = np.random.default_rng(0), 0
        for _ in range(150):
            actions = rng.integers(one.action_space.n, size=8)  # type: ignore[attr-defined]
            ours, theirs = several.step(actions), one.step(actions)
            for a, b in zip(ours[:3], theirs[:3], strict=True):
                assert np.array_equal(a, b)
                assert a.dtype == b.dtype
            for a, b in zip(ours[3], theirs[3], strict=True):
                assert same(timeless(a), timeless(b))
            ends += ours[2].sum()
        assert ends
        for a, b in zip(one.unwrapped.reset_infos, several.unwrapped.reset_infos, strict=True):
            assert same(a, b)


def test_a_game_is_asked_where_it_is_and_what_it_raises_arrives(tmp_path: Path) -> None:
    with closing(games("Breakout", 5, 2, monitor_dir=tmp_path)) as env:
        assert env.env_is_wrapped(Monitor) == [True] * 5
        env.set_attr("mark", 7)
        assert env.get_attr("mark", indices=3) == [7]
        names = env.env_method("get_action_meanings")
        assert names == [["NOOP", "FIRE", "RIGHT", "LEFT"]] * 5
        with pytest.raises(AttributeError, match="none_such"):
            env.env_method("none_such")
        assert not env.has_attr("none_such")
        assert env.reset().shape == (5, 4, 84, 84)  # the games go on
    assert len(list(tmp_path.glob("*.monitor.csv"))) == 5
    env.close()  # a second time nothing happens


def broken(env: DummyVecEnv, where: int) -> None:
    if where == 0:
        raise KeyboardInterrupt


def test_a_game_that_cannot_be_made_says_why_and_leaves_nothing() -> None:
    def fine() -> Any:
        gym.register_envs(ale_py)
        return gym.make("ALE/Pong-v5", frameskip=1)

    def fails() -> Any:
        raise OSError("no such ROM")

    before = family(os.getpid())
    with pytest.raises(OSError, match="no such ROM"):
        WorkerVecEnv([fine, fine, fails], 2, "Pong")
    assert gone([pid for pid in family(os.getpid()) if pid not in before and is_worker(pid)])


FORGETFUL = """
from custom.env.games import make_games
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe

if __name__ == "__main__":
    game = find_game("Pong")
    env = make_games(game, load_recipe("dqn", game).hyperparams, 4, 0, workers=3)
    env.reset()
"""


@pytest.mark.long
def test_a_script_that_forgets_to_close_ends(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(FORGETFUL)
    done = python(tmp_path / "script.py")
    assert (done.returncode, done.stderr) == (0, "")


def test_neither_a_dead_process_nor_a_broken_call_leaves_old_answers() -> None:
    with closing(games("Pong", 4, 2)) as env:
        env.reset()
        [process] = env.unwrapped._processes
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(UserError, match="the process of games 2 to 3 has died"):
            env.step(np.zeros(4, dtype=int))
        process.join(60)
        assert not process.is_alive()
        with pytest.raises(UserError, match="the process of games 2 to 3"):
            env.reset()
    env = games("Pong", 4, 3)
    with pytest.raises(KeyboardInterrupt):
        env.unwrapped.call(broken, [0, 1, 2])
    with pytest.raises(UserError, match="has died"):
        env.reset()
    env.close()


TRAIN = "--game Pong --steps 200000 --envs 8 --workers 3 --seed 1 --no-report"


def training(logs: Path, recipe: Path) -> subprocess.Popen[str]:
    flags = [*TRAIN.split(), "--logs", str(logs), "--recipe", str(recipe)]
    process = start("scripts.train", *flags)
    assert process.stdout is not None
    while "Ctrl-C" not in (line := process.stdout.readline()):
        assert line
        assert "Warning" not in line
    return process


def family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def is_worker(pid: int) -> bool:
    """Not a child of this process, as the fork server and its tracker are, which stay."""
    return status_of(pid)[1] not in ("0", str(os.getpid()))


def status_of(pid: int) -> list[str]:
    """State and parent of a process, as Linux tells them; of one that has gone as of a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ["Z", "0"]


def gone(pids: list[int]) -> bool:
    end = time.monotonic() + 120
    while any(status_of(pid)[0] != "Z" for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    return time.monotonic() < end


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_signal(number: int, small_recipe: Path, tmp_path: Path) -> None:
    process = training(tmp_path, small_recipe)
    pids = family(process.pid)
    assert len(pids) == 5  # two that play, the fork server, its tracker, and the training
    is_kill = number == signal.SIGKILL
    for pid in pids[:1] if is_kill else reversed(pids):  # a terminal sends it to all at once
        os.kill(pid, number)
    output, _ = process.communicate()
    assert process.returncode == (-number if is_kill else 128 + number), output
    assert is_kill or "interrupted after" in output
    assert gone(pids)


@pytest.mark.long
def test_a_training_whose_process_dies_says_so(small_recipe: Path, tmp_path: Path) -> None:
    process = training(tmp_path, small_recipe)
    last = family(process.pid)[-1]
    os.kill(last, signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 2, output
    error = output.strip().splitlines()[-1]
    assert error.startswith("error: PongNoFrameskip-v4: the process of games ")
    assert "has died. Last checkpoint: none; it cannot be resumed" in error
