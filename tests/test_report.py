"""The learning curve, drawn from the files of a run."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from custom.evaluation.baselines import baselines_file, baselines_of
from custom.evaluation.plot import draw, plot_run
from custom.evaluation.protocol import Protocol, Scores
from custom.evaluation.results import score_rows, score_table
from custom.recipe.games import find_game
from custom.runs.folder import Run, open_run
from custom.runs.metrics import finished_games
from custom.system.errors import UserError
from custom.system.files import write_json
from tests.conftest import SMALL

PONG = find_game("Pong")
ENTRY = json.dumps(SMALL)  # JSON is YAML


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "dqn" / "dqn" / f"{PONG.env_id}_1"
    folder.mkdir(parents=True)
    facts = {"env_id": PONG.env_id, "recipe": "dqn", "algo": "dqn", "seed": 1, "frame_skip": 4}
    write_json(folder / "run.json", facts)
    (folder / "recipe.yml").write_text(f"{PONG.env_id}: {ENTRY}\n")
    rows = "".join(f"{i * 100},{i * 400},{i % 5},400\n" for i in range(1, 41))
    (folder / "training_games.csv").write_text("steps,frames,score,game_frames\n" + rows)
    results = np.array([[1.0, 3.0], [5.0, 5.0]])
    np.savez(folder / "evaluations.npz", timesteps=[2000, 4000], results=results)
    return open_run(folder)


def labels(run: Run) -> list[str]:
    axes = draw(run).axes[0]
    texts = [text.get_text() for text in (*axes.get_legend().get_texts(), *axes.texts)]
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


def test_without_measured_baselines_random_is_as_published(run: Run) -> None:
    assert "random play: -20.7" in labels(run)
    assert not any(label.startswith("only") for label in labels(run))


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


def test_measured_baselines_are_lines_for_their_own_mode_alone(run: Run, tmp_path: Path) -> None:
    results = {"random": {"mean": -20.0}, "FIRE": {"mean": -19.0}}
    content = {"best_action": "FIRE", "results": results, "protocol": {"episodes": 1}}
    file = baselines_file(tmp_path, "dqn", PONG)
    file.parent.mkdir()
    write_json(file, content)
    assert {"random play: -20", "only FIRE: -19"} <= set(labels(run))
    assert "random play: -20.7" not in labels(run)
    assert baselines_of(another_mode(run)) == []
    write_json(file, {**content, "variant": {"mode": 1}})
    assert "random play: -20" in labels(open_run(run.path))
    (run.path / "recipe.yml").write_text(f"{PONG.env_id}: {ENTRY}\n")
    assert baselines_of(open_run(run.path)) == []


def test_damaged_baselines_are_named(run: Run, tmp_path: Path) -> None:
    results = {"random": {"mean": -20.0}, "FIRE": {"mean": None}}
    content = {"best_action": "FIRE", "results": results, "protocol": {"episodes": 1}}
    file = baselines_file(tmp_path, "dqn", PONG)
    file.parent.mkdir()
    write_json(file, content)
    with pytest.raises(UserError, match=r"NoFrameskip-v4.json: is damaged .* make baselines"):
        baselines_of(run)


def test_a_run_without_a_finished_game_has_nothing_to_plot(run: Run) -> None:
    (run.path / "training_games.csv").write_text("steps,frames,score,game_frames\n")
    (run.path / "evaluations.npz").unlink()
    with pytest.raises(UserError, match="no game was finished yet"):
        plot_run(run)
    (run.path / "training_games.csv").write_bytes(b"")
    assert not finished_games(run)["score"].size


@pytest.mark.parametrize("name", ["training_games.csv", "evaluations.npz"])
def test_a_damaged_file_is_named(run: Run, name: str) -> None:
    (run.path / name).write_bytes(b"\0")
    with pytest.raises(UserError, match=name):
        plot_run(run)
