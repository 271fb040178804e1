"""The whole job on real Pong, through the entry points that the Makefile calls."""

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch as th
from stable_baselines3 import DQN

from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.runs.agents import load_agent
from custom.runs.folder import Run, open_run
from custom.system.errors import NonFiniteError
from custom.training.prepare import Training, prepare
from custom.training.settings import Settings
from custom.training.train import train
from tests.conftest import (
    ROOT,
    At,
    Patch,
    main,
    own_signals,
    refused,
    run,
    run_process,
    small,
    start,
)

ENV = "RoadRunnerNoFrameskip-v4"


@pytest.fixture(scope="module")
def output(trained: Path) -> str:
    return (trained.parent / "output").read_text()


@pytest.fixture(scope="module")
def finished(output: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = Path(output.splitlines()[-1].removeprefix("Run: "))
    copy = tmp_path_factory.mktemp("logs").joinpath(*folder.parts[-3:])
    return open_run(Path(shutil.copytree(folder, copy)))


def weights(path: Path) -> list[th.Tensor]:
    return list(DQN.load(path, device="cpu").policy.state_dict().values())


def test_the_run_says_what_it_resolved_and_keeps_everything(finished: Run, output: str) -> None:
    assert finished.path.name == f"{ENV}_1"
    names = {path.name for path in finished.path.rglob("*") if path.is_file()}
    assert {f"{ENV}.zip", "best_model.zip", "config.yml", "args.yml"} <= names
    assert {"recipe.yml", "run.json", "evaluations.npz", "0.monitor.csv"} <= names
    assert {"evaluation.json", "replay.mp4", "replay.gif", "learning_curve.png"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.startswith(".") for name in names)  # nothing half-made
    assert "no sticky actions" in output
    assert "epsilon goes from 1 to 0.05 in the first 200 steps" in output
    facts = {"exploration_steps": 200, "seed": 3, "state": "finished", "steps": 400}
    assert {name: finished.facts[name] for name in facts} == facts
    assert finished.facts["versions"]["torch"] == th.__version__
    assert "scripts.train" in finished.facts["command"]
    with np.load(finished.path / "evaluations.npz") as content:
        assert list(content["timesteps"]) == [200, 400]
        assert content["results"].shape == content["ep_lengths"].shape == (2, 1)
        assert np.isfinite(content["mean_max_q"]).all()
    games = pd.read_csv(finished.path / "training_games.csv")
    assert list(games.columns) == ["steps", "frames", "score", "game_frames"]
    steps = [int(path.name.split("_")[2]) for path in finished.checkpoints()]
    assert steps == [200, 300, 400]


def test_an_evaluation_writes_its_protocol_and_shows_references(finished: Run) -> None:
    shown = run("scripts.evaluate", "--run", finished.path, "--episodes", 2, "--seed", 5)
    assert "DQN (Nature 2015, 200M frames)" in shown
    result = json.loads((finished.path / "evaluation.json").read_text())
    assert len(result["scores"]) == 2
    assert result["mean"] == np.mean(result["scores"])
    assert result["mean_minus_std"] == pytest.approx(result["mean"] - result["std"])
    assert result["human_normalised"] == pytest.approx((result["mean"] - 11.5) / 7833.5)
    protocol = {"episodes": 2, "epsilon": 0.05, "seed": 5, "n_envs": 2, "noop_max": 30}
    protocol |= {"max_frames": 108_000, "full_games": True, "frame_skip": 4}
    assert result["protocol"] == protocol | {"repeat_action_probability": 0.0}


def test_the_zoo_plays_the_agent(finished: Run) -> None:
    logs = finished.path.parents[1]
    flags = ("--algo", "dqn", "--env", ENV, "-f", logs, "--no-render", "-n", 30)
    assert "Loading latest experiment, id=1" in run_process("rl_zoo3.enjoy", *flags)


@pytest.mark.long
def test_the_zoo_alone_trains_the_default_recipe(tmp_path: Path) -> None:
    flags = ("--algo", "dqn", "--env", "PongNoFrameskip-v4", "-conf", ROOT / "hyperparams/dqn.yml")
    small = ("-params", "buffer_size:1000")  # its replay of 1M would take 56 GB
    few = ("-n", 40, "--eval-freq", -1, "-f", tmp_path)
    shown = run_process("rl_zoo3.train", *flags, *small, *few)
    assert "Saving to" in shown


def test_the_same_seed_gives_the_same_weights(finished: Run, tmp_path: Path) -> None:
    recipe = load_recipe(str(finished.path / "recipe.yml"), finished.game)
    experiment = prepare(recipe, finished.game, Settings(3, tmp_path, eval_freq=10_000))
    assert train(experiment) == 0
    again = weights(experiment.run.final_model)
    assert all(th.equal(a, b) for a, b in zip(weights(finished.final_model), again, strict=True))


def prepared(logs: Path, act: Callable[[DQN], object]) -> Training:
    """A training of 300 steps, in which something happens at step 150."""
    settings = Settings(0, logs, eval_freq=10_000, save_freq=100)
    training = prepare(small(n_timesteps=300), find_game("RoadRunner"), settings)
    at = At(150, lambda: act(training.model))
    return replace(training, callbacks=(*training.callbacks, at))


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGINT, 9)]
)
def test_a_signal_saves_the_agent(tmp_path: Path, number: signal.Signals, times: int) -> None:
    def send(_: DQN) -> None:
        for _ in range(times):
            signal.raise_signal(number)

    training = prepared(tmp_path, send)
    with own_signals():
        assert train(training, report_episodes=1) == 128 + number
    run = open_run(training.run.path)
    assert (run.facts["state"], run.facts["steps"]) == ("interrupted", 152)
    assert load_agent(run, run.final_model).num_timesteps == 152
    assert not (run.path / "evaluation.json").exists()


@pytest.mark.long
def test_signals_without_end_leave_a_whole_run(tmp_path: Path, small_recipe: Path) -> None:
    flags = ("--game", "Pong", "--recipe", small_recipe, "--steps", 10**6, "--logs", tmp_path)
    process = start("scripts.train", *flags)
    assert process.stdout is not None
    first = next(line for line in process.stdout if line.startswith("training;"))
    while process.poll() is None:  # as somebody who leans on Ctrl-C
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    output = first + process.stdout.read()
    assert "Traceback" not in output
    assert process.returncode == 130
    interrupted = open_run(Path(output.splitlines()[-1].removeprefix("Run: ")))
    assert interrupted.facts["state"] == "interrupted"
    assert interrupted.final_model.exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_signal_during_the_report(
    tmp_path: Path, small_recipe: Path, number: signal.Signals, status: int, monkeypatch: Patch
) -> None:
    def evaluated(*_: object) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr("custom.evaluation.results.evaluate_run", evaluated)
    flags = ("--game", "Pong", "--recipe", small_recipe, "--steps", 60, "--logs", tmp_path)
    found, output, _ = main("scripts.train", *flags, "--eval-freq", 1000)
    assert found == status
    assert ("report skipped" in output) == (status == 0)
    [folder] = tmp_path.glob("*/*/*_1")
    assert open_run(folder).facts["state"] == "finished"
    assert not (folder / "replay.mp4").exists()


def test_a_nan_is_named_and_the_last_checkpoint_plays(tmp_path: Path) -> None:
    def put_nan(model: DQN) -> None:
        model.q_net.features_extractor.linear[0].bias.data[0] = float("nan")

    training = prepared(tmp_path, put_nan)
    with pytest.raises(NonFiniteError) as error:
        train(training)
    assert "the parameter q_net.features_extractor.linear.0.bias" in str(error.value)
    assert "rl_model_100_steps.zip" in str(error.value)
    assert training.run.facts["state"] == "failed"
    assert not training.run.final_model.exists()
    shown = run("scripts.evaluate", "--run", training.run.path, "--episodes", 1)
    assert "model rl_model_100_steps.zip" in shown


BAD_FLAGS = {
    ("--game", "SpaceInvader"): "did you mean SpaceInvaders",
    ("--recipe", "dqm"): "did you mean dqn",
    ("--steps", "-1"): "'-1' is not a whole number of at least 1",
    ("--steps", "1.5"): "'1.5' is not a whole number",
    ("--seed", "99999999999"): "is not a whole number from 0 to",
    ("--device", "cuda:77"): "'cuda:77' is not a device",
    ("--hours", "0"): "'0' is not a number from",
    ("--dry-run", "yes"): "'yes' is neither 1 nor 0",
    ("--setps", "100"): "--setps 100; .venv/bin/python -m scripts.train --help lists the flags\n",
    ("--learning-rate", "1"): "it is of the recipe: write SET='learning_rate=...'",
}


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_a_bad_flag_is_refused(tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert BAD_FLAGS[flags] in refused("scripts.train", *flags, "--logs", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["evaluate", "record", "plot"])
def test_a_run_that_is_none_is_refused(tmp_path: Path, module: str) -> None:
    assert "is not a run folder" in refused(f"scripts.{module}", "--run", tmp_path)
    assert "no such folder" in refused(f"scripts.{module}", "--run", tmp_path / "no")
    assert "no run of" in refused(f"scripts.{module}", "--logs", tmp_path, "--game", "Qbert")


def test_a_run_without_a_whole_model_is_told(finished: Run, tmp_path: Path) -> None:
    for name in ("run.json", "recipe.yml"):
        shutil.copy(finished.path / name, tmp_path)
    assert "has no final model" in refused("scripts.evaluate", "--run", tmp_path)
    assert "has no best model" in refused("scripts.record", "--run", tmp_path, "--model", "best")
    whole = finished.final_model.read_bytes()
    (tmp_path / finished.final_model.name).write_bytes(whole[: len(whole) // 2])
    assert "cannot be loaded" in refused("scripts.evaluate", "--run", tmp_path)
    assert "cannot be loaded" in refused("scripts.record", "--run", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"recipe.yml", "run.json", finished.final_model.name}


def test_measured_baselines_reach_the_table(finished: Run) -> None:
    logs = finished.path.parents[2]
    flags = ("--game", "Breakout", "--recipe", ROOT / "hyperparams/dqn.yml", "--logs", logs)
    assert "best single action" in run("scripts.baselines", *flags, "--episodes", 1)
    assert (logs / "dqn/baselines/BreakoutNoFrameskip-v4.json").is_file()
