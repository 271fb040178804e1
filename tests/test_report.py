"""The learning curve, drawn from the files of a run, and the list of `make runs`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from custom.evaluation.baselines import baselines_file, baselines_of
from custom.evaluation.plot import draw, plot_run
from custom.evaluation.protocol import Protocol, Scores
from custom.evaluation.results import score_rows, score_table
from custom.recipe.games import find_game
from custom.runs.folder import Run, open_run
from custom.runs.listing import row_of, rows_of, state_of
from custom.runs.metrics import finished_games
from custom.system.errors import UserError
from custom.system.files import write_json
from tests.conftest import SMALL
from tests.test_runs import a_run

PONG = find_game("Pong")
ENTRY = json.dumps(SMALL)  # JSON is YAML


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = a_run(tmp_path / "dqn" / "dqn" / f"{PONG.env_id}_1")
    rows = "".join(f"{i * 100},{i * 400},{i % 5},400\n" for i in range(1, 41))
    (folder / "training_games.csv").write_text("steps,frames,score,game_frames\n" + rows)
    results = np.array([[1.0, 3.0], [5.0, 5.0]])
    np.savez(folder / "evaluations.npz", timesteps=[2000, 4000], results=results)
    return open_run(folder)


def labels(run: Run) -> list[str]:
    axes = draw(run).axes[0]
    texts = [text.get_text() for text in (*axes.figure.legends[0].get_texts(), *axes.texts)]
    return [label.strip("↑↓ ") for text in texts for label in text.split(", ")]


def test_the_curve_has_games_their_mean_and_evaluations_at_their_frames(run: Run) -> None:
    with Image.open(plot_run(run)) as picture:
        assert (picture.format, picture.size) == ("PNG", (1080, 600))
    shown = labels(run)
    assert "one game" in shown
    assert "mean of 8 games" in shown
    assert "mean ± std; games: 2" in shown
    container = draw(run).axes[0].containers[0]
    line, _, (bars,) = container.lines
    assert list(line.get_xdata()) == [0.008, 0.016]  # million frames: 4 a step
    assert list(line.get_ydata()) == [2.0, 5.0]
    assert [tuple(ends[:, 1]) for ends in bars.get_segments()] == [(1.0, 3.0), (5.0, 5.0)]


def test_measured_baselines_are_lines_for_their_own_mode_alone(run: Run, tmp_path: Path) -> None:
    assert "random play: -20.7" in labels(run)
    assert not any(label.startswith("only") for label in labels(run))
    file, content = measured(tmp_path, fire=-19.0)
    assert {"random play: -20", "only FIRE: -19"} <= set(labels(run))
    assert "random play: -20.7" not in labels(run)
    assert baselines_of(another_mode(run)) == []
    write_json(file, {**content, "variant": {"mode": 1}})
    assert "random play: -20" in labels(open_run(run.path))
    (run.path / "recipe.yml").write_text(f"{PONG.env_id}: {ENTRY}\n")
    assert baselines_of(open_run(run.path)) == []


def measured(logs: Path, fire: float | None) -> tuple[Path, dict[str, Any]]:
    results = {"random": {"mean": -20.0}, "FIRE": {"mean": fire}}
    content = {"best_action": "FIRE", "results": results, "protocol": {"episodes": 1}}
    file = baselines_file(logs, "dqn", PONG)
    file.parent.mkdir()
    write_json(file, content)
    return file, content


def another_mode(run: Run) -> Run:
    entry = json.dumps({**SMALL, "env_kwargs": {"mode": 1}})
    (run.path / "recipe.yml").write_text(f"{PONG.env_id}: {entry}\n")
    return open_run(run.path)


def test_another_mode_of_a_game_has_no_published_scores(run: Run) -> None:
    result = {
        **Scores([1.0, 2.0], [100, 100]).summary(),
        "env_id": PONG.env_id,
        "frames": 400,
        "model": "x.zip",
        "protocol": Protocol().describe(PONG, run.hyperparams),
        "human_normalised": None,
    }
    assert "human" in [row.label for row in score_rows(run, result)]
    other = another_mode(run)
    assert not any(label.startswith("random") for label in labels(other))
    assert [row.label for row in score_rows(other, result)] == ["this agent (0.00M frames)"]
    assert f"{PONG.env_id}, mode 1, raw points, full games: 2" in score_table(other, result)


def test_damaged_baselines_are_named(run: Run, tmp_path: Path) -> None:
    measured(tmp_path, fire=None)
    with pytest.raises(UserError, match=r"NoFrameskip-v4.json: is damaged .* make baselines"):
        baselines_of(run)


def test_a_run_without_a_finished_game_has_nothing_to_plot(run: Run) -> None:
    (run.path / "training_games.csv").write_text("steps,frames,score,game_frames\n")
    (run.path / "evaluations.npz").unlink()
    with pytest.raises(UserError, match="there is nothing to plot"):
        plot_run(run)
    (run.path / "training_games.csv").write_bytes(b"")
    assert not finished_games(run)["score"].size


@pytest.mark.parametrize("name", ["training_games.csv", "evaluations.npz"])
def test_a_damaged_file_is_named(run: Run, name: str) -> None:
    (run.path / name).write_bytes(b"\0")
    with pytest.raises(UserError, match=name):
        plot_run(run)


@pytest.fixture
def listed(tmp_path: Path) -> Run:
    return open_run(a_run(tmp_path / "dqn" / "dqn" / f"{PONG.env_id}_1"))


def test_evaluations_are_told_and_of_a_run_under_way_its_steps(listed: Run, tmp_path: Path) -> None:
    listed.update(state="finished", steps=300_000, n_timesteps=1_250_000)
    results = np.array([[1.0, 2.0], [7.0, 9.0], [4.0, 6.0]])
    np.savez(listed.path / "evaluations.npz", timesteps=[100, 200, 300], results=results)
    expected = (str(listed.path), "0", "300k of 1.25M", "5.0 ± 1.0", "8.0", "finished")
    assert row_of(listed, tmp_path) == expected
    listed.update(state="running", steps=0)
    games = "steps,frames,score,game_frames\n820,3280,-21.0,3280\n164000,656000,-20.0,3280\n"
    (listed.path / "training_games.csv").write_text(games)
    assert row_of(listed, tmp_path)[2] == "164k of 1.25M"


def test_a_lock_tells_a_running_run_from_one_that_was_killed(listed: Run, tmp_path: Path) -> None:
    listed.update(state="running")
    with listed.lock():
        assert state_of(listed) == "running"
    [(_, row)], problems = rows_of(tmp_path)
    assert row[-1] == "failed"
    assert problems == [f"{listed.path}: its process ended unexpectedly"]


def test_runs_can_be_chosen_and_damaged_ones_are_named(listed: Run, tmp_path: Path) -> None:
    a_run(tmp_path / "dqn" / "dqn" / "broken_1").joinpath("run.json").write_text("{")
    (tmp_path / "other").symlink_to(tmp_path / "dqn")  # as to another disk
    names = [row[0] for _, row in rows_of(tmp_path)[0]]
    assert names == [str(listed.path), str(listed.path).replace("/dqn/", "/other/", 1)]
    (tmp_path / "other").unlink()
    assert rows_of(tmp_path, game="BreakoutNoFrameskip-v4")[0] == []
    assert rows_of(tmp_path, recipe="rainbow")[0] == []
    (listed.path / "evaluations.npz").write_bytes(b"PK")
    rows, [broken, evaluations] = rows_of(tmp_path, PONG.env_id, "dqn")
    assert rows == []
    assert "broken_1: is not a run folder" in broken
    assert "evaluations.npz: cannot be read" in evaluations
