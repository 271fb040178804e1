"""The benchmarks run, and their tables say what was measured."""

import json
from pathlib import Path

import pytest

from tests.conftest import run_process


@pytest.mark.long
def test_the_zoo_and_this_project_are_timed_in_turn(tmp_path: Path) -> None:
    out = tmp_path / "raw" / "figures.json"
    flags = ("--pairs", 1, "--steps", 120, "--buffer-size", 200, "--batch-size", 4, "--out", out)
    shown = run_process("benchmarks.throughput", *flags)
    facts = json.loads(out.read_text())
    zoo, ours = facts["runs"]
    assert (zoo["side"], ours["side"]) == ("zoo", "ours")
    assert f"ratio   {ours['steps_per_second'] / zoo['steps_per_second']:.2f}" in shown
    assert facts["hardware"]["cores"]
    for one in (zoo, ours):
        assert 80 < one["steps"] < 90  # what came after the warm-up of 30
