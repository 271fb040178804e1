"""An agent as ONNX: the values and actions of PyTorch, for any number of screens."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch as th

from custom.evaluation import onnx
from custom.recipe.games import Game, find_game
from custom.recipe.recipe import load_recipe
from custom.runs.agents import load_agent, save_agent
from custom.runs.folder import Run
from custom.training.prepare import prepare
from custom.training.settings import Settings
from tests.conftest import ROOT, Patch, Refused, run

PONG = find_game("Pong")


def untrained(recipe: str, logs: Path, game: Game = PONG) -> Run:
    made = prepare(load_recipe(recipe, game), game, Settings(0, logs))
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
def test_a_file_with_other_values_is_deleted(
    tmp_path: Path, monkeypatch: Patch, refused: Refused
) -> None:
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


def test_the_missing_extra_is_named(trained: Path, monkeypatch: Patch, refused: Refused) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    folder = trained / "small/dqn/RoadRunnerNoFrameskip-v4_1"
    assert "pip install -c constraints.txt -e '.[onnx]'" in refused(
        "scripts.export", "--run", folder
    )
