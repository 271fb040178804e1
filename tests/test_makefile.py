"""The Makefile takes values as data, passes them on as flags, and keeps .venv up to date."""

import os
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from scripts import cli
from scripts.options import parser_of

ROOT = Path(__file__).resolve().parent.parent
PYTHON, STAMP = Path(".venv/bin/python"), Path(".venv/.ready")
TARGETS = {"setup", "train", "evaluate", "baselines", "record", "plot", "enjoy", "push", "pull"}
TARGETS |= {"leaderboard", "runs", "compare", "sync", "test", "test-all", "lint"}
TARGETS |= {"tune", "tune-best", "dashboard", "benchmark", "resume", "export"}
MAKEFILE = (ROOT / "Makefile").read_text()
VARIABLES = dict(re.findall(r"^([A-Z_]+) \?= ?(.*)$", MAKEFILE, re.MULTILINE))  # and defaults
NOT_OF_MAKE = {"runs --game", "runs --recipe", "enjoy --games", "tune --seeds"}

# Stands in for the interpreter of .venv: writes down its arguments, ended by NULs.
STUB = """#!/bin/sh
printf '%s\\0' "$@" > arguments
"""

INJECTIONS = [
    "x; touch hacked #",
    "$(touch hacked)",
    "`touch hacked`",
    "$(shell touch hacked)",
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
    stub = root / PYTHON
    stub.parent.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root / name)
    stub.write_text(STUB)
    stub.chmod(0o755)
    (root / STAMP).touch()
    return root


def make(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    hidden = {*VARIABLES, "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    how = {"cwd": root, "env": clean | environment}
    return subprocess.run(["make", *words], capture_output=True, text=True, **how)


def arguments(root: Path) -> list[str]:
    file = root / "arguments"
    return file.read_text().split("\0")[:-1] if file.exists() else []


def test_make_alone_describes_every_target_and_variable_without_a_venv(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    shown = make(checkout).stdout
    assert {*re.findall(r"^  ([a-z-]+) +\w.{8,}", shown, re.M)} == TARGETS | {"help", "clean"}
    described = dict(re.findall(r"^  ([A-Z_]+) +(\S+) +\w.{8,}", shown, re.MULTILINE))
    assert described == {name: default or "-" for name, default in VARIABLES.items()}
    assert len(VARIABLES) == 33
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("target", sorted(cli.commands()))
def test_a_target_passes_the_flags_of_its_script_alone(checkout: Path, target: str) -> None:
    module = cli.commands()[target]
    flags = parser_of(import_module(module))._option_string_actions
    expected = {}
    for name in VARIABLES.keys() - {"STORAGE"}:  # which is read from the environment
        flag = f"--{name.lower().replace('_', '-')}"
        if flag in flags and f"{target} {flag}" not in NOT_OF_MAKE:
            expected[name] = f"{flag}=value of {name}"
    words = (f"{name}=value of {name}" for name in expected)
    make(checkout, target, *words, **{name: f"value of {name}" for name in VARIABLES})
    passed = arguments(checkout)
    assert (passed[:2], passed[-3:]) == (["-m", module], ["value", "of", "ARGS"])
    assert set(passed[2:-3]) == set(expected.values())


def test_defaults_are_passed_but_for_a_run_that_has_its_own(checkout: Path) -> None:
    make(checkout.parent, "-C", str(checkout), "plot")
    assert arguments(checkout) == ["-m", "scripts.plot", "--game=SpaceInvaders", "--logs=logs"]
    make(checkout, "train", *(f"{name}=" for name in VARIABLES))
    assert arguments(checkout) == ["-m", "scripts.train"]
    make(checkout, "train", "FROM=$(x), run", "RECIPE=c51")
    assert arguments(checkout)[2:4] == ["--recipe=c51", "--from=$(x), run"]


@pytest.mark.parametrize("value", INJECTIONS)
def test_a_value_arrives_unchanged_and_is_never_executed(checkout: Path, value: str) -> None:
    for words, environment in (([f"GAME={value}"], {}), ([], {"GAME": value})):
        make(checkout, "train", *words, **environment)
        assert arguments(checkout)[2] == f"--game={value}"
    for words in (["-n", "train"], ["help"], ["test"]):
        make(checkout, *words, *(f"{name}={value}" for name in [*VARIABLES, "UNKNOWN"]))
    (checkout / STAMP).unlink()
    make(checkout, "setup", f"PYTHON={value}")
    make(checkout, "setup", PYTHON=value)
    assert not (checkout / "hacked").exists()


def test_an_unknown_variable_and_a_missing_interpreter_are_named(checkout: Path) -> None:
    said = {"STEP": "there is no variable STEP", "STEPS": "make resume does not read STEPS"}
    for name in said:
        shown = make(checkout, "resume", f"{name}=1", "GAME=Pong", "SEED=")
        assert (shown.returncode, arguments(checkout)) == (2, [])
        assert said[name] in shown.stderr
    (checkout / STAMP).unlink()
    shown = make(checkout, "train", "PYTHON=no such python")
    missing = 'error: there is no "no such python" here'
    assert (shown.returncode, missing in shown.stderr) == (2, True)


@pytest.mark.parametrize(("target", "module"), [("test", "pytest"), ("plot", "scripts.plot")])
def test_args_are_split_and_not_globbed(checkout: Path, target: str, module: str) -> None:
    make(checkout, target, "ARGS= -k  'a b'\t* $(touch hacked)\n-x")
    expected = ["-k", "'a", "b'", "*", "$(touch", "hacked)", "-x"]
    assert arguments(checkout)[-len(expected) :] == expected
    assert arguments(checkout)[:2] == ["-m", module]
    assert not (checkout / "hacked").exists()


def test_make_fails_with_the_script_and_its_values_do_not_reach_the_tests(checkout: Path) -> None:
    (checkout / PYTHON).write_text("#!/bin/sh\nexit 3\n")
    shown = make(checkout, "train")
    assert shown.returncode != 0
    assert "Error 3" in shown.stderr
    (checkout / PYTHON).write_text("#!/bin/sh\nenv > seen\n")
    make(checkout, "-s", "test", "GAME=Pong", "ARGS=-x")
    assert not re.search("^(GAME|ARGS|MAKEFLAGS)=", (checkout / "seen").read_text(), re.MULTILINE)


def test_clean_removes_the_venv_and_keeps_the_runs(checkout: Path) -> None:
    for folder in ("logs/run", "scripts/__pycache__", ".mypy_cache", "x.egg-info"):
        (checkout / folder).mkdir(parents=True)
    make(checkout, "clean")
    left = {"Makefile", "constraints.txt", "logs", "pyproject.toml", "scripts"}
    assert {path.name for path in checkout.iterdir()} == left
    assert (checkout / "logs" / "run").exists()
    assert not (checkout / "scripts" / "__pycache__").exists()


@pytest.mark.parametrize(
    "missing", ["", "stamp", "interpreter", "pyproject.toml", "constraints.txt"]
)
def test_a_venv_is_stale_without_parts_or_before_its_inputs(checkout: Path, missing: str) -> None:
    stamped = (checkout / STAMP).stat().st_mtime
    if missing == "stamp":
        (checkout / STAMP).unlink()
    elif missing == "interpreter":
        (checkout / PYTHON).unlink()
        (checkout / PYTHON).symlink_to("/no/such/python3")
    elif missing:
        os.utime(checkout / missing, (stamped + 60, stamped + 60))
    assert ("pip" in make(checkout, "-n", "train").stdout) == bool(missing)


@pytest.mark.parametrize("torch", ["", "cpu"])
@pytest.mark.parametrize("uv_works", [True, False])
def test_an_installation_has_tested_packages(checkout: Path, torch: str, uv_works: bool) -> None:
    (checkout / STAMP).unlink()
    for name, status in (("python", 0), ("uv", not uv_works)):
        stub = checkout / PYTHON.with_name(name)
        stub.write_text(f'#!/bin/sh\necho "${{0##*/}} $@" > installed\nexit {int(status)}\n')
        stub.chmod(0o755)
    folders = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if not (Path(folder) / "uv").exists())
    shown = make(checkout, "setup", f"TORCH={torch}", PATH=path).stdout
    assert shown.endswith(".venv is ready\n")
    installs = "python -m pip --disable-pip-version-check --no-input install"
    if torch and uv_works:
        installs = "uv pip install --python .venv/bin/python --torch-backend cpu"
    assert ("uv cannot install it" in shown) == (bool(torch) and not uv_works)
    installed = (checkout / "installed").read_text()
    assert installed == f"{installs} -q -c constraints.txt -e .[dev]\n"
    assert (checkout / STAMP).exists()


def test_a_linked_venv_is_refused(checkout: Path) -> None:
    (checkout / ".venv").rename(checkout / "other")
    (checkout / ".venv").symlink_to("other")
    (checkout / "other/.ready").unlink()
    shown = make(checkout, "setup")
    assert "is a symbolic link" in shown.stderr
    assert shown.returncode == 2
    assert not (checkout / "other/.ready").exists()


def test_a_failed_installation_leaves_no_stamp_and_shows_why(checkout: Path) -> None:
    (checkout / STAMP).unlink()
    (checkout / PYTHON).write_text(
        '#!/bin/sh\n[ "$5" = install ] || exit 0\necho no space; exit 1\n'
    )
    shown = make(checkout, "setup")
    assert shown.stdout.endswith("no space\n")
    assert shown.returncode != 0
    assert not (checkout / STAMP).exists()
