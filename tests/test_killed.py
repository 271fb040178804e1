"""A training that is killed at any of its writes, or whose writes fail, resumes to the same run."""

from functools import cache
from pathlib import Path

import pytest

from tests.conftest import longer
from tests.killing import KINDS, Case, in_child, outcome

QUICK, LONG, DENSE = 40, 40, 6  # every so many calls
DISTURBED = [("dqn", act) for act in ("kill", "torn", "lost", "ENOSPC", "EIO+")]
MORE = [(kind, "kill") for kind in KINDS if kind != "dqn"]


@cache
def undisturbed(kind: str, logs: Path) -> tuple[int, str]:
    calls, digest = in_child(Case(kind, logs).train)
    return calls, digest


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


def disturbed(kind: str, act: str, whole: Path, folder: Path, every: int) -> None:
    calls, digest = undisturbed(kind, whole / kind)
    first = 1 + DISTURBED.index((kind, act)) * 4 if (kind, act) in DISTURBED and every > 1 else 1
    for at in range(first, calls + 1, every):
        came = outcome(Case(kind, folder / str(at)), digest, at, act)
        assert came in ("equal", "nothing saved"), f"{kind}, {act} at call {at} of {calls}: {came}"
        assert at < calls / 2 or came == "equal"


@pytest.mark.parametrize(("kind", "act"), [("dqn", "kill"), ("dqn", "lost")])
def test_some_calls(kind: str, act: str, whole: Path, tmp_path: Path) -> None:
    disturbed(kind, act, whole, tmp_path, QUICK)


@pytest.mark.parametrize(("kind", "act"), longer(*DISTURBED, *MORE))
def test_more_calls(kind: str, act: str, whole: Path, tmp_path: Path) -> None:
    every = DENSE if (kind, act) == ("dqn", "kill") else LONG
    disturbed(kind, act, whole, tmp_path, every)
