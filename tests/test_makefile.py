"""The Makefile takes values as data, passes them on as flags, and keeps .venv up to date."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import setup

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {"setup", "train", "evaluate", "baselines", "record", "plot", "enjoy", "push", "pull"}
TARGETS |= {"leaderboard", "runs", "compare", "sync", "test", "test-all", "lint"}
TARGETS |= {"tune", "tune-best", "dashboard", "benchmark", "resume"}
EMPTY = "STEPS HOURS SEED RUN EPISODES ENVS GAMES PROJECT TRIALS JOBS SEARCH STORAGE STUDY SEEDS"
EMPTY += " CLUSTER FROM OUT REPO REVISION PRIVATE DRY_RUN ARGS"
VARIABLES = dict.fromkeys(EMPTY.split(), "-") | {  # and their defaults
    "GAME": "SpaceInvaders",
    "RECIPE": "dqn",
    "RECIPES": "dqn",
    "DEVICE": "auto",
    "LOGS": "logs",
    "SOURCE": "logs",
    "BUFFER": "frames",
    "TRACK": "off",
    "PYTHON": "python3",
}

# Stands in for the interpreter of .venv: writes down its arguments, ended by NULs.
STUB = """#!/bin/sh
printf '%s\\0' "$@" > arguments
"""

INJECTIONS = [
    "x; touch hacked",
    "x && touch hacked #",
    "$(touch hacked)",
    "`touch hacked`",
    "$(shell touch hacked)",
    "${shell touch hacked}",
    "$$(touch hacked)",
    "$$$$ $@ $",
    "'; touch hacked; '",
    '"; touch hacked; "',
    "x\ntouch hacked\n\ttouch hacked",
    "a \\ b\\\\ * ~ # % : = |",
    "--help",
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a space in its name and a stub as its up-to-date .venv."""
    root = tmp_path / "a checkout"
    (root / "scripts").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts/setup.py"):
        shutil.copy(ROOT / name, root / name)
    (root / "scripts" / "__init__.py").touch()
    (root / ".venv" / "bin").mkdir(parents=True)
    stub = root / setup.PYTHON
    stub.write_text(STUB)
    stub.chmod(0o755)
    (root / setup.STAMP).touch()
    return root


def make(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make, without what an outer make has left in the environment."""
    hidden = {*VARIABLES, "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        ["make", *words], cwd=root, env=clean | environment, capture_output=True, text=True
    )


def arguments(root: Path) -> list[str]:
    """What the stub interpreter was started with."""
    return (root / "arguments").read_text().split("\0")[:-1]


def age(root: Path, name: str, seconds: int) -> None:
    """Date a file back or forth from the stamp."""
    stamped = (root / setup.STAMP).stat().st_mtime
    os.utime(root / name, (stamped - seconds, stamped - seconds))


def a_stub_pip(root: Path, then: str) -> None:
    """Make .venv stale and its interpreter one that counts its pip runs, then does something."""
    (root / setup.STAMP).unlink()
    (root / setup.PYTHON).write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho pip >> installed\n{then}\n'
    )


def test_make_alone_describes_every_target() -> None:
    described = re.findall(r"^  ([a-z-]+) +\w.{8,}", make(ROOT).stdout, re.MULTILINE)
    assert set(described) == TARGETS | {"help", "clean"}


def test_make_alone_describes_every_variable_with_its_default() -> None:
    described = re.findall(r"^  ([A-Z_]+) +(\S+) +\w.{8,}", make(ROOT).stdout, re.MULTILINE)
    assert dict(described) == VARIABLES


def test_make_alone_needs_no_venv(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    assert make(checkout).returncode == 0
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("target", "flags"),
    [
        (
            "train",
            "game recipe from steps hours seed device logs episodes buffer envs track project",
        ),
        ("evaluate", "game recipe run logs episodes seed device"),
        ("baselines", "game recipe logs episodes seed"),
        ("record", "game recipe run logs seed device"),
        ("plot", "game recipe run logs"),
        ("enjoy", "game recipe run logs seed device"),
        ("resume", "game recipe run logs device episodes"),
        ("push", "game recipe run logs episodes device repo private dry-run"),
        ("pull", "repo revision logs"),
        ("leaderboard", "game logs"),
        ("runs", "logs"),
        ("compare", "game games recipes source project out logs"),
        ("sync", "run logs"),
        (
            "tune",
            "game recipe trials steps seed jobs search study logs device envs cluster",
        ),
        ("tune-best", "game recipe study logs out"),
        ("dashboard", "game recipe study logs"),
        ("benchmark", "games recipes seeds steps jobs logs device envs cluster out"),
    ],
)
def test_a_target_takes_its_variables_and_ignores_the_others(
    checkout: Path, target: str, flags: str
) -> None:
    make(checkout, target, *(f"{name}=value of {name}" for name in VARIABLES))
    expected = [f"--{flag}=value of {flag.upper().replace('-', '_')}" for flag in flags.split()]
    expected += ["value", "of", "ARGS"]
    module = f"scripts.{target.replace('-', '_')}"
    assert arguments(checkout) == ["-m", module, *expected]


def test_an_empty_variable_passes_no_flag(checkout: Path) -> None:
    make(checkout, "train", *(f"{name}=" for name in VARIABLES))
    assert arguments(checkout) == ["-m", "scripts.train"]


def test_defaults_are_passed(checkout: Path) -> None:
    make(checkout, "plot")
    assert arguments(checkout)[2:] == ["--game=SpaceInvaders", "--recipe=dqn", "--logs=logs"]


def test_a_run_that_is_trained_further_has_a_game_and_a_recipe_of_its_own(checkout: Path) -> None:
    make(checkout, "train", "FROM=$(x), run", "RECIPE=c51")
    assert arguments(checkout)[2:4] == ["--recipe=c51", "--from=$(x), run"]


@pytest.mark.parametrize("value", INJECTIONS)
def test_a_value_arrives_unchanged(checkout: Path, value: str) -> None:
    for words, environment in (([f"GAME={value}"], {}), ([], {"GAME": value})):
        make(checkout, "train", *words, **environment)
        assert arguments(checkout)[2] == f"--game={value}"
        assert not (checkout / "hacked").exists()


@pytest.mark.parametrize("value", INJECTIONS)
def test_no_value_is_executed_whatever_make_does(checkout: Path, value: str) -> None:
    for words in (["-n", "train"], ["help"], ["test"]):
        make(checkout, *words, *(f"{name}={value}" for name in [*VARIABLES, "UNKNOWN"]))
        assert not (checkout / "hacked").exists()


@pytest.mark.parametrize("value", INJECTIONS)
def test_the_name_of_the_interpreter_is_not_executed_either(checkout: Path, value: str) -> None:
    (checkout / setup.STAMP).unlink()
    make(checkout, "setup", f"PYTHON={value}")
    make(checkout, "setup", PYTHON=value)
    assert not (checkout / "hacked").exists()


def test_an_unknown_variable_is_named(checkout: Path) -> None:
    shown = make(checkout, "train", "STEP=100")
    assert shown.returncode == 2
    assert "there is no variable STEP" in shown.stderr


def test_args_are_split_at_white_space_and_not_globbed(checkout: Path) -> None:
    make(checkout, "test", "ARGS= -k  'a b'\t* $(touch hacked)\n-x")
    expected = ["-k", "'a", "b'", "*", "$(touch", "hacked)", "-x"]
    assert arguments(checkout)[-len(expected) :] == expected
    assert arguments(checkout)[:2] == ["-m", "pytest"]


def test_args_are_passed_on_to_the_script_after_its_own_flags(checkout: Path) -> None:
    make(checkout, "plot", "ARGS=--one * $(touch hacked)")
    assert arguments(checkout)[-4:] == ["--one", "*", "$(touch", "hacked)"]
    assert not (checkout / "hacked").exists()


def test_the_values_of_make_test_do_not_reach_the_tests(checkout: Path) -> None:
    (checkout / setup.PYTHON).write_text("#!/bin/sh\nenv > seen\n")
    make(checkout, "-s", "test", "GAME=Pong", "ARGS=-x")
    assert not re.search("^(GAME|ARGS|MAKEFLAGS)=", (checkout / "seen").read_text(), re.MULTILINE)


def test_make_fails_when_the_script_fails(checkout: Path) -> None:
    (checkout / setup.PYTHON).write_text("#!/bin/sh\nexit 3\n")
    shown = make(checkout, "train")
    assert shown.returncode != 0
    assert "Error 3" in shown.stderr


def test_make_works_from_another_folder(checkout: Path) -> None:
    assert make(checkout.parent, "-C", str(checkout), "train").returncode == 0
    assert arguments(checkout)[1] == "scripts.train"


def test_clean_removes_the_venv_and_keeps_the_runs(checkout: Path) -> None:
    for folder in ("logs/run", "scripts/__pycache__", ".mypy_cache", "x.egg-info"):
        (checkout / folder).mkdir(parents=True)
    make(checkout, "clean")
    left = {"Makefile", "constraints.txt", "logs", "pyproject.toml", "scripts"}
    assert {path.name for path in checkout.iterdir()} == left
    assert (checkout / "logs" / "run").exists()
    assert not (checkout / "scripts" / "__pycache__").exists()


def test_a_missing_interpreter_is_named(checkout: Path) -> None:
    (checkout / setup.STAMP).unlink()
    shown = make(checkout, "train", "PYTHON=no such python")
    assert 'error: there is no "no such python" here' in shown.stderr
    assert shown.returncode != 0


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 9, 18), (3, 14, 0)])
def test_an_unsupported_python_is_refused_in_one_line(version: tuple[int, int, int]) -> None:
    number = ".".join(map(str, version))
    assert setup.python_error("python3", version) == (
        f"python3 is {number}; sb3-atari-dqn needs 3.10 to 3.13: make PYTHON=python3.12 setup"
    )


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 13, 9)])
def test_a_supported_python_is_not_refused(version: tuple[int, int, int]) -> None:
    assert setup.python_error("python3", version) is None


def test_a_python_without_venv_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "apt install python3.11-venv" in (setup.python_error("python3", (3, 11, 2)) or "")


def test_a_venv_newer_than_its_inputs_is_ready(checkout: Path) -> None:
    assert setup.is_ready(checkout)


@pytest.mark.parametrize("name", setup.INPUTS)
def test_a_venv_older_than_an_input_is_stale(checkout: Path, name: str) -> None:
    age(checkout, name, -60)
    assert not setup.is_ready(checkout)
    assert "scripts.setup" in make(checkout, "-n", "train").stdout


def test_a_venv_without_a_stamp_is_stale(checkout: Path) -> None:
    (checkout / setup.STAMP).unlink()
    assert not setup.is_ready(checkout)
    assert "scripts.setup" in make(checkout, "-n", "train").stdout


def test_a_venv_whose_interpreter_is_gone_is_stale(checkout: Path) -> None:
    (checkout / setup.PYTHON).unlink()
    (checkout / setup.PYTHON).symlink_to("/no/such/python3")
    assert not setup.is_ready(checkout)
    assert not setup.is_usable(checkout)
    assert "scripts.setup" in make(checkout, "-n", "train").stdout


def test_a_failed_installation_leaves_no_stamp_and_shows_why(checkout: Path) -> None:
    a_stub_pip(checkout, "echo no space left; exit 1")
    shown = make(checkout, "setup", PYTHON=sys.executable)
    assert "no space left\nerror: pip install failed" in shown.stderr
    assert shown.returncode != 0
    assert not (checkout / setup.STAMP).exists()


def test_what_is_edited_during_an_installation_makes_it_stale(checkout: Path) -> None:
    a_stub_pip(checkout, "touch -t 203012312359 constraints.txt")
    make(checkout, "setup", PYTHON=sys.executable)
    assert (checkout / setup.STAMP).exists()
    assert not setup.is_ready(checkout)


def test_two_makes_install_once(checkout: Path) -> None:
    a_stub_pip(checkout, "until [ -e second ]; do :; done")
    command = ["make", "setup", f"PYTHON={sys.executable}"]
    pipe = subprocess.PIPE
    first, second = (
        subprocess.Popen(command, cwd=checkout, stdout=pipe, text=True) for _ in range(2)
    )
    # Whichever comes second says that it waits; only then may the first go on.
    _let_go_when_one_waits(first, second, checkout / "second")
    assert (first.wait(), second.wait()) == (0, 0)
    assert (checkout / "installed").read_text() == "pip\n"


def _let_go_when_one_waits(
    first: subprocess.Popen[str], second: subprocess.Popen[str], gate: Path
) -> None:
    lines = [process.stdout.readline() for process in (first, second) if process.stdout]
    gate.touch()
    assert sum("waiting" in line for line in lines) == 1
