"""A new run trains an agent further: FROM of a finished, an interrupted and a pulled run."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch as th

from custom.learner.engine import Engine
from custom.recipe.games import find_game
from custom.runs.agents import load_agent
from custom.runs.folder import Run, open_run
from custom.system.errors import UserError
from custom.training.further import further
from custom.training.prepare import Training, prepare
from custom.training.resume import is_run_of, resume
from custom.training.settings import Settings
from custom.training.train import train
from tests.conftest import At, refused, run
from tests.test_resume import STOPPED, the_same, trained


def prepared(parent: Run, logs: Path, game: str = "Pong", steps: int = 120) -> Training:
    settings = Settings(seed=5, logs=logs, device="cpu", eval_freq=10**6, save_freq=60)
    recipe = parent.recipe.with_budget(steps)
    origin, recipe = further(parent, recipe, find_game(game), Engine())
    return prepare(recipe, find_game(game), settings, origin)


def weights(run: Run) -> list[th.Tensor]:
    return list(load_agent(run, run.model("final"), "cpu").policy.state_dict().values())


def test_a_finished_run_gives_its_weights(tmp_path: Path) -> None:
    parent = trained(tmp_path, "quantiles")
    training = prepared(parent, tmp_path)
    assert training.run.facts["parent"]["taken"] == "weights only"
    assert training.run.path.name == "PongNoFrameskip-v4_2"
    ours = list(training.model.policy.state_dict().values())
    assert all(map(th.equal, ours, weights(parent)))
    training.model._last_obs = training.model.env.reset()  # type: ignore[union-attr]
    actions = [training.model._sample_action(100)[0][0] for _ in range(20)]
    assert len(set(actions)) == 1  # the agent plays the warm-up
    assert train(training) == 0
    assert f"make train FROM={parent.path}" in refused("scripts.resume", "--run", parent.path)


def test_an_interrupted_run_gives_its_replay_too(tmp_path: Path) -> None:
    parent = trained(tmp_path, "quantiles", **STOPPED)
    training = prepared(parent, tmp_path / "new")
    assert training.run.facts["parent"]["taken"] == "weights, optimizer and replay"
    assert training.model.replay_buffer is not None
    assert training.model.replay_buffer.size() == parent.facts["steps"]
    assert training.model.policy.optimizer.state_dict()["state"]
    assert training.model.learning_starts == 0
    assert train(training) == 0
    with parent.lock(), pytest.raises(UserError, match="is being trained"):
        prepared(parent, tmp_path / "new")


@pytest.mark.parametrize("at", [1, 70])
def test_a_run_that_goes_on_from_another_is_resumed_exactly(at: int, tmp_path: Path) -> None:
    parent = trained(tmp_path, "noise")
    whole = prepared(parent, tmp_path / "whole")
    assert train(whole) == 0
    first = prepared(parent, tmp_path / "first")
    stop = At(at, first.status.request_stop)
    assert train(replace(first, callbacks=(*first.callbacks, stop))) == 0
    assert train(resume(first.run, "cpu")) == 0
    the_same(open_run(whole.run.path), open_run(first.run.path))


def test_an_agent_for_other_actions_is_refused(tmp_path: Path) -> None:
    parent = trained(tmp_path, "noise")
    with pytest.raises(UserError, match=r"FROM .*does not fit \(.*size mismatch"):
        prepared(parent, tmp_path / "new", "Breakout")
    assert not list(tmp_path.glob("new/*"))


def test_a_child_of_a_child_has_the_warm_up_of_the_recipe(tmp_path: Path) -> None:
    parent = trained(tmp_path, "noise", **STOPPED)
    flags = ["--logs", tmp_path, "--steps", 120, "--no-report", "--eval-freq", 1000]
    for changes, size in ((["gamma=0.9"], 241), (["gamma=0.8", "n_steps=2"], 121)):
        how = [*flags, "--from", parent.path, "--set", *changes]
        said = run("scripts.train", *how)
        assert f"of {parent.path.name};" in said
        assert f"replay of {size} steps" in said
        parent = open_run(Path(said.splitlines()[-1].removeprefix("Run: ")))
    assert parent.path.parents[1].name == "small+gamma=0.9+gamma=0.8+n_steps=2"
    assert parent.facts["parent"]["taken"] == "weights only"
    assert parent.facts["parent"]["parent"]["taken"] == "weights, optimizer and replay"
    values = parent.hyperparams
    assert (values.learning_starts, values.buffer_size) == (12, 400)
    assert (values.gamma, values.n_steps) == (0.8, 2)
    assert not is_run_of(parent, parent.recipe, Settings(seed=parent.facts["seed"]))
