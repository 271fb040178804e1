"""Commands whose standard streams are broken or of another encoding."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

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
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env={**os.environ, **NO_UTF8}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert shown.encode() in done.stdout
    assert ("{train}" in shell) == bool(list(tmp_path.glob("dqn/dqn/*/PongNoFrameskip-v4.zip")))
