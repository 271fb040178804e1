"""What is made of an agent: ONNX with PyTorch's values, and films of whole games."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import torch as th
from PIL import Image, ImageColor

from custom.env.games import make_games
from custom.evaluation import EPSILON, film, onnx, panel
from custom.evaluation.protocol import epsilon_greedy, evaluation_seed, play_games
from custom.recipe.games import Game, find_game
from custom.recipe.recipe import load_recipe
from custom.runs.agents import load_agent, save_agent
from custom.runs.folder import Run
from custom.training.prepare import prepare
from custom.training.settings import Settings
from tests.conftest import ROOT, Patch, refused, run

PONG = find_game("Pong")


def untrained(recipe: str, logs: Path, game: Game = PONG) -> Run:
    made = prepare(load_recipe(recipe, game).with_budget(1000), game, Settings(0, logs))
    save_agent(made.model, made.run.final_model)
    made.lock.close()
    return made.run


@pytest.mark.long  # needs the extra
@pytest.mark.parametrize("recipe", ["dqn", "dqn-keras", "qrdqn-impala", "rainbow"])
def test_the_file_gives_pytorchs_values_and_actions(recipe: str, tmp_path: Path) -> None:
    import onnxruntime

    made = untrained(recipe, tmp_path)
    assert "on 64 screens" in run("scripts.export", "--run", made.path)
    file = made.path / "agent.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    model = load_agent(made, made.final_model, "cpu")
    shape = (7, *model.observation_space.shape)  # type: ignore[misc]
    screens = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    [values] = session.run(["values"], {"screens": screens})
    assert values.shape == (7, 6)
    actions, _ = model.predict(screens, deterministic=True)
    assert np.array_equal(values.argmax(axis=1), actions)
    [one] = session.run(["values"], {"screens": screens[:1]})
    assert np.allclose(one, values[:1], atol=1e-5)


@pytest.mark.long  # needs the extra
def test_a_file_with_other_values_is_deleted(tmp_path: Path, monkeypatch: Patch) -> None:
    class Shifted(onnx.ActionValues):
        def forward(self, screens: th.Tensor) -> th.Tensor:
            return super().forward(screens) + (0.01 if th.compiler.is_exporting() else 0.0)

    made = untrained("dqn", tmp_path)
    (made.path / "agent.onnx").touch()  # of before
    monkeypatch.setattr(onnx, "ActionValues", Shifted)
    assert "differ by 0.01 from PyTorch's" in refused("scripts.export", "--run", made.path)
    assert not list(made.path.glob("*.onnx"))


@pytest.mark.long  # needs the extra
def test_a_push_has_it_on_demand_the_same_each_time(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained / "small/dqn/RoadRunnerNoFrameskip-v4_1", tmp_path / "run")
    flags = ("scripts.push", "--run", folder, "--episodes", 1, "--dry-run")
    hub = folder / "hub"
    run(*flags, "--onnx")
    content = (hub / "agent.onnx").read_bytes()
    assert "`agent.onnx` is" in (hub / "README.md").read_text()
    assert str(ROOT).encode() not in content
    run(*flags, "--onnx")
    assert (hub / "agent.onnx").read_bytes() == content
    run(*flags)
    assert not (hub / "agent.onnx").exists()
    assert "agent.onnx" not in (hub / "README.md").read_text()


def test_the_missing_extra_is_named(trained: Path, monkeypatch: Patch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    folder = trained / "small/dqn/RoadRunnerNoFrameskip-v4_1"
    said = refused("scripts.export", "--run", folder)
    assert "pip install -c constraints.txt -e '.[onnx]'" in said


@pytest.fixture
def made(small_recipe: Path, tmp_path: Path) -> Run:
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
    film_facts = {"codec": "h264", "size": (480, 630), "fps": 60}
    assert {name: facts(mp4)[name] for name in film_facts} == film_facts
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
