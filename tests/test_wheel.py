"""What `pip install` gives, and commands whose standard streams are broken."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from custom.jobs.task import Process, Task
from custom.runs.folder import open_run
from scripts import cli
from tests.conftest import ROOT, SMALL, Patch, python

SOURCES = ("custom", "scripts", "hyperparams")
SLOW = {"torch", "stable_baselines3", "sb3_contrib", "matplotlib", "optuna", "wandb", "ale_py"}
BUILD = "from setuptools.build_meta import build_wheel; build_wheel({!r})"
# Runs commands, then says on standard error what of the slow packages they imported.
WATCHED = """
import shlex, sys
del sys.path[0]  # the current folder, which a console command does not look into
from scripts.cli import main
status = 0
for line in sys.argv[1:]:
    sys.argv = ["sb3-atari-dqn", *shlex.split(line)]
    try:
        main()
    except SystemExit as end:
        status = status or end.code
print("imported:", *({!r} & sys.modules.keys()), file=sys.stderr)
sys.exit(status)
"""
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout unpacked, as pip does it, in a repository of somebody else."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("project")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-c", BUILD.format(str(out))]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    [file] = out.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(out / "site-packages")
    return out / "site-packages"


@pytest.fixture
def call(site: Path, tmp_path: Path) -> Iterator[Call]:
    before = sorted(site.rglob("*"))
    env = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "STORAGE": ""}

    def run(*lines: str) -> subprocess.CompletedProcess[str]:
        return python("-c", WATCHED.format(SLOW), *lines, cwd=tmp_path, **env)

    yield run
    assert sorted(site.rglob("*")) == before


def test_the_wheel_has_all_code_and_data_and_every_target_as_a_command(site: Path) -> None:
    def files(folder: Path) -> set[str]:
        found = (file for name in SOURCES for file in (folder / name).rglob("*") if file.is_file())
        return {str(file.relative_to(folder)) for file in found if file.suffix != ".pyc"}

    assert files(site) == files(ROOT)
    assert {"hyperparams/schema.json", "custom/hub/model_card.md"} <= files(site)
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == set(SOURCES)
    [text] = site.glob("*.dist-info/entry_points.txt")
    commands = text.read_text().splitlines()
    assert commands == ["[console_scripts]", "sb3-atari-dqn = scripts.cli:main"]
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+): .*\n\t\$\(call run,", makefile, re.MULTILINE)
    assert len(targets) == 18
    assert set(cli.commands()) == set(targets)
    for module in cli.commands().values():
        assert callable(import_module(module).command)


def test_help_names_each_command_with_its_line_and_imports_nothing_slow(call: Call) -> None:
    names = [*cli.commands()]
    done = call("", "--help", "-h", *(f"{name} --help" for name in names))
    assert (done.returncode, done.stderr) == (0, "imported:\n")
    listed = re.findall(r"^  ([a-z-]+) +(\w.{8,})$", done.stdout, re.MULTILINE)
    assert [name for name, _ in listed if name in names] == 3 * names
    assert ("train", "train an agent on a game, then evaluate, film and plot it") in listed
    assert re.findall(r"^usage: sb3-atari-dqn (\S+) ", done.stdout, re.M) == names


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian", "'trian' is no command; sb3-atari-dqn --help lists them"),
        ("train --step 5", "unrecognized arguments: --step 5; sb3-atari-dqn train --help lists"),
        ("train --game Pnog", "GAME 'Pnog' is unknown: did you mean Pong, UpNDown?"),
        ("tune --recipe dqm", "RECIPE 'dqm' is unknown: did you mean dqn?"),
        ("benchmark --games Pong --recipes dqn_", "RECIPE 'dqn_' is unknown: did you mean dqn?"),
        ("compare --logs . --games Pnog", "GAME 'Pnog' is unknown: did you mean Pong, UpNDown?"),
        ("evaluate --game Qbert", "no run of QbertNoFrameskip-v4 in logs; train one with make"),
    ],
)
def test_bad_input_is_one_line_without_anything_slow(call: Call, line: str, message: str) -> None:
    done = call(line)
    error, imported = done.stderr.splitlines()
    assert (done.returncode, done.stdout, imported) == (2, "", "imported:")
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.long
def test_an_installed_copy_trains_an_agent(call: Call, site: Path, tmp_path: Path) -> None:
    (tmp_path / "hyperparams").mkdir()  # of somebody else
    (tmp_path / "hyperparams" / "dqn.yml").write_text("nothing")
    own = {"policy": "custom.policies.AtariPolicy", "policy_kwargs": {"dueling": True}}
    values = {"extends": "dqn", "atari": SMALL | own | {"n_envs": 1}}
    (tmp_path / "own.yml").write_text(yaml.safe_dump(values))
    flags = "--game Breakout --recipe own.yml"
    trained = call(f"train {flags} --steps 120 --eval-episodes 1 --no-report")
    assert trained.returncode == 0, trained.stderr
    run = open_run(tmp_path / "logs" / "own" / "dqn" / "BreakoutNoFrameskip-v4_1")
    assert run.facts["git_revision"] is None

    built = call(f"push {flags} --episodes 1 --dry-run")
    assert built.returncode == 0, built.stderr
    folder = tmp_path / built.stdout.splitlines()[-1].removeprefix("Folder: ")
    assert "(`pip install .` in a checkout of it)" in (folder / "README.md").read_text()
    agent = folder / "dqn-BreakoutNoFrameskip-v4.zip"
    load = "from stable_baselines3 import DQN; print(DQN.load({!r}, buffer_size=1).policy_class)"
    loaded = python("-c", load.format(str(agent)), cwd=tmp_path, PYTHONPATH=str(site))
    assert loaded.stdout == "<class 'custom.policies.AtariPolicy'>\n", loaded.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"hyperparams", "logs", "own.yml"}


def test_a_task_is_of_the_same_copy_and_runs_here(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("custom", "scripts"):  # of somebody else
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong copy')")
    (tmp_path / "logs").mkdir()
    log = tmp_path / "log"
    handle = Process(Task("a list", "scripts.compare", ("--recipes=",), log=log))
    handle.end(600)
    assert handle.status() == 2
    assert log.read_text().startswith("error: RECIPES is empty")


NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("shell", "shown"),
    [
        ("{runs} | true; exit ${{PIPESTATUS[0]}}", ""),
        ("{train} | true; exit ${{PIPESTATUS[0]}}", ""),
        ("{runs}", "0.0 ? 0.0"),
    ],
)
def test_streams(shell: str, shown: str, tmp_path: Path, trained: Path) -> None:
    python = f"{shlex.quote(sys.executable)} -m"
    line = shell.format(
        runs=f"{python} scripts.runs --logs {shlex.quote(str(trained))}",
        train=f"{python} scripts.train --game Pong --steps 40 --logs {shlex.quote(str(tmp_path))}"
        " --no-report --eval-freq 1000",
    )
    env = {**os.environ, **NO_UTF8}
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert shown.encode() in done.stdout
    assert ("{train}" in shell) == bool(list(tmp_path.glob("dqn/dqn/*/PongNoFrameskip-v4.zip")))
