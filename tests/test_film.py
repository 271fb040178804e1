"""Films: the whole game, of a bounded size, with what the agent thinks beside it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch as th
from PIL import Image, ImageColor

from custom.env.games import make_games
from custom.evaluation import EPSILON, film, panel
from custom.evaluation.protocol import epsilon_greedy, evaluation_seed, play_games
from custom.recipe.games import find_game
from custom.runs.agents import load_agent
from custom.runs.folder import Run
from tests.conftest import Patch, run
from tests.test_onnx import untrained


@pytest.fixture
def made(small_recipe: Path, tmp_path: Path) -> Run:
    """Of the game with the shortest games."""
    return untrained(str(small_recipe), tmp_path, find_game("RoadRunner"))


def facts(path: Path) -> dict[str, Any]:
    reader = imageio_ffmpeg.read_frames(str(path))
    found: dict[str, Any] = next(reader)
    reader.close()
    return found


def test_the_gif_is_the_whole_game_and_never_too_large(made: Run, monkeypatch: Patch) -> None:
    monkeypatch.setattr(film, "GIF_SECONDS", 2)
    mp4, gif, speed, score = film.record_run(made, made.final_model)
    assert speed >= 2
    env = make_games(made.game, made.hyperparams, 1, evaluation_seed(0))
    agent = load_agent(made, made.final_model)
    again = play_games(epsilon_greedy(agent, EPSILON, np.random.default_rng(0)), env, 1)
    assert (again.mean, again.frames) == (score, [imageio_ffmpeg.count_frames_and_secs(mp4)[0]])
    seconds = facts(mp4)["duration"] / speed
    assert facts(gif)["duration"] == pytest.approx(seconds, abs=0.2)
    with Image.open(gif) as opened:
        assert opened.n_frames > 15
    monkeypatch.setattr(film, "GIF_BYTES", gif.stat().st_size - 1)
    assert film._write_gif(mp4, gif) == 2 * speed
    assert facts(gif)["duration"] == pytest.approx(seconds / 2, abs=0.2)


@pytest.mark.long
def test_the_values_stand_beside_the_same_game(made: Run) -> None:
    score = film.record_run(made, made.final_model)[-1]
    assert f"a game of {score:.0f} points" in run("scripts.record", "--run", made.path, "--actions")
    assert facts(made.path / "replay.mp4")["size"] == (480 + panel.WIDTH, 630)


def test_a_bar_is_as_long_as_its_value_and_the_chosen_one_is_marked(monkeypatch: Patch) -> None:
    values = iter([th.tensor([[1.0, 5.0, 3.0]]), th.tensor([[-1.0, 1.0, 0.0]])])
    monkeypatch.setattr(panel, "action_values", lambda *_: next(values))
    agent: Any = SimpleNamespace(device="cpu")
    player = panel.Panel(lambda _: np.array([2]), agent, ["NOOP", "FIRE", "UP"])

    def bars() -> list[int]:
        assert player(np.zeros((1, 4, 84, 84), np.uint8)) == [2]
        rows = [player.picture[90 + 32 * i + 10, panel.LEFT : panel.LEFT + 200] for i in range(3)]
        colors = [ImageColor.getrgb(color) for color in (panel.BLUE, panel.BLUE, panel.ORANGE)]
        return [
            int((row == color).all(axis=1).sum()) for row, color in zip(rows, colors, strict=True)
        ]

    assert bars() == [1, panel.BARS + 1, panel.BARS // 2 + 1]
    assert bars() == [1, panel.BARS // 2 + 1, panel.BARS // 4 + 1]  # the scale stays
