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
TARGETS |= {"tune", "tune-best", "dashboard", "benchmark", "resume", "export"}
EMPTY = (
    "RECIPE STEPS HOURS SEED RUN EPISODES ENVS GAMES PROJECT TRIALS JOBS SEARCH STORAGE STUDY SEEDS"
)
EMPTY += " RECIPE CLUSTER FROM SET OUT REPO REVISION PRIVATE DRY_RUN TORCH ARGS"
VARIABLES = dict.fromkeys(EMPTY.split(), "-") | {  # and their defaults
    "GAME": "SpaceInvaders",
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
    """What the stub interpreter was last started with, if it was."""
    file = root / "arguments"
    return file.read_text().split("\0")[:-1] if file.exists() else []


def a_stub_pip(root: Path, then: str) -> None:
    """Make .venv stale and its interpreter one that counts its pip runs, then does something."""
    (root / setup.STAMP).unlink()
    (root / setup.PYTHON).write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho pip >> installed\n{then}\n'
    )


def test_make_alone_describes_every_target_and_variable_without_a_venv(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    shown = make(checkout).stdout
    targets = re.findall(r"^  ([a-z-]+) +\w.{8,}", shown, re.MULTILINE)
    assert set(targets) == TARGETS | {"help", "clean"}
    assert dict(re.findall(r"^  ([A-Z_]+) +(\S+) +\w.{8,}", shown, re.MULTILINE)) == VARIABLES
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("target", "flags"),
    [
        (
            "train",
            "game recipe set from steps hours seed device logs episodes buffer envs track project"
            " dry-run",
        ),
        ("evaluate", "game recipe run logs episodes seed device"),
        ("baselines", "game recipe logs episodes seed"),
        ("record", "game recipe run logs seed device"),
        ("plot", "game recipe run logs"),
        ("export", "game recipe run logs"),
        ("enjoy", "game recipe run logs seed device"),
        ("resume", "game recipe run logs device episodes"),
        ("push", "game recipe run logs episodes device repo private dry-run"),
        ("pull", "repo revision logs"),
        ("leaderboard", "game logs"),
        ("runs", "logs"),
        ("compare", "game games recipes set source project out logs"),
        ("sync", "run logs"),
        (
            "tune",
            "game recipe set trials steps seed jobs search study logs device envs cluster",
        ),
        ("tune-best", "game recipe study logs out"),
        ("dashboard", "game recipe study logs"),
        ("benchmark", "games recipes set seeds steps jobs logs device envs cluster out"),
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


def test_defaults_are_passed_and_nothing_for_an_empty_variable(checkout: Path) -> None:
    make(checkout.parent, "-C", str(checkout), "plot")
    defaults = ["--game=SpaceInvaders", "--logs=logs"]
    assert arguments(checkout) == ["-m", "scripts.plot", *defaults]
    make(checkout, "train", *(f"{name}=" for name in VARIABLES))
    assert arguments(checkout) == ["-m", "scripts.train"]


def test_a_run_that_is_trained_further_has_a_game_and_a_recipe_of_its_own(checkout: Path) -> None:
    make(checkout, "train", "FROM=$(x), run", "RECIPE=c51")
    assert arguments(checkout)[2:4] == ["--recipe=c51", "--from=$(x), run"]


@pytest.mark.parametrize("value", INJECTIONS)
def test_a_value_arrives_unchanged_and_is_never_executed(checkout: Path, value: str) -> None:
    for words, environment in (([f"GAME={value}"], {}), ([], {"GAME": value})):
        make(checkout, "train", *words, **environment)
        assert arguments(checkout)[2] == f"--game={value}"
    for words in (["-n", "train"], ["help"], ["test"]):
        make(checkout, *words, *(f"{name}={value}" for name in [*VARIABLES, "UNKNOWN"]))
    (checkout / setup.STAMP).unlink()
    make(checkout, "setup", f"PYTHON={value}")
    make(checkout, "setup", PYTHON=value)
    assert not (checkout / "hacked").exists()


def test_an_unknown_variable_is_named(checkout: Path) -> None:
    shown = make(checkout, "train", "STEP=100")
    assert shown.returncode == 2
    assert "there is no variable STEP" in shown.stderr


@pytest.mark.parametrize(("target", "module"), [("test", "pytest"), ("plot", "scripts.plot")])
def test_args_are_split_at_white_space_and_come_last_and_are_not_globbed(
    checkout: Path, target: str, module: str
) -> None:
    make(checkout, target, "ARGS= -k  'a b'\t* $(touch hacked)\n-x")
    expected = ["-k", "'a", "b'", "*", "$(touch", "hacked)", "-x"]
    assert arguments(checkout)[-len(expected) :] == expected
    assert arguments(checkout)[:2] == ["-m", module]
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


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 9, 18), (3, 14, 0), (3, 10, 0), (3, 13, 9)])
def test_only_a_supported_python_is_taken(version: tuple[int, int, int]) -> None:
    number = ".".join(map(str, version))
    is_supported = (3, 10) <= version < (3, 14)
    error = f"python3 is {number}; sb3-atari-dqn needs 3.10 to 3.13: make PYTHON=python3.12 setup"
    assert setup.python_error("python3", version) == (None if is_supported else error)


@pytest.mark.parametrize("missing", ["", "stamp", "interpreter", *setup.INPUTS])
def test_a_venv_is_stale_without_stamp_or_interpreter_or_before_its_inputs(
    checkout: Path, missing: str
) -> None:
    stamped = (checkout / setup.STAMP).stat().st_mtime
    if missing == "stamp":
        (checkout / setup.STAMP).unlink()
    elif missing == "interpreter":
        (checkout / setup.PYTHON).unlink()
        (checkout / setup.PYTHON).symlink_to("/no/such/python3")
        assert not setup.is_usable(checkout)
    elif missing:
        os.utime(checkout / missing, (stamped + 60, stamped + 60))
    assert setup.is_ready(checkout) == (not missing)
    assert ("scripts.setup" in make(checkout, "-n", "train").stdout) == bool(missing)


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
    both = [subprocess.Popen(command, cwd=checkout, stdout=pipe, text=True) for _ in range(2)]
    # Whichever comes second says that it waits; only then may the first go on.
    lines = [process.stdout.readline() for process in both if process.stdout]
    (checkout / "second").touch()
    assert sum("waiting" in line for line in lines) == 1
    assert [process.wait() for process in both] == [0, 0]
    assert (checkout / "installed").read_text() == "pip\n"
