"""Agents trained elsewhere: in agents/, by the zoo, and as files that are taken apart."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch as th
import yaml
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer

from custom.hub.foreign import bring_in, of_folder
from custom.runs.agents import safe_agent
from custom.runs.folder import AGENTS, Run, open_run
from custom.runs.metrics import evaluations
from scripts import evaluate, options
from tests.compared import Write
from tests.conftest import WHOLE, ended, run
from tests.foreign import ENV, Zoo, saved, unzipped, weights_of, zipped

OURS = sorted(path.name for path in AGENTS.iterdir())


@pytest.mark.parametrize("name", OURS)
def test_an_agent_of_the_checkout_scores_what_is_said(name: str, tmp_path: Path) -> None:
    games = 2 if name == "Pong" else 8  # games of Pong are long, and differ little
    said = json.loads((AGENTS / name / "evaluation.json").read_text())
    assert sum(file.stat().st_size for file in (AGENTS / name).iterdir()) < 7e6
    output = run("scripts.evaluate", "--game", name, "--logs", tmp_path, "--episodes", games)
    [folder] = tmp_path.glob(f"agents--{name}/*/*_1")
    assert f"takes {folder}" in output
    result = json.loads((folder / "evaluation.json").read_text())
    assert abs(result["mean"] - said["mean"]) < 3 * said["std"] / math.sqrt(games)
    assert result["steps"] == said["steps"]
    run("scripts.evaluate", "--game", name, "--logs", tmp_path, "--episodes", 1)
    assert len(list(tmp_path.glob("agents--*/*/*"))) == 1  # it was brought in once


def test_a_run_of_ones_own_comes_first(written: Write, tmp_path: Path) -> None:
    bring_in(of_folder(AGENTS / "SpaceInvaders"), tmp_path / "logs")
    own = written(game="SpaceInvaders", started="2026-01-01T00:00:00+00:00")
    words = ["--game", "SpaceInvaders", "--logs", str(tmp_path / "logs")]
    args = options.parser_of(evaluate).parse_args(words)
    assert options.find_run(args, or_agent=True).path == own


@pytest.fixture
def of_the_zoo(zoo_runs: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "theirs/dqn" / f"{ENV}_1"
    shutil.copytree(zoo_runs / "dqn" / f"{ENV}_1", folder)
    return folder


def test_a_run_of_the_zoo_is_scored_plotted_and_compared(of_the_zoo: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    output = run("scripts.pull", "--repo", of_the_zoo, "--logs", logs)
    brought = open_run(logs / "dqn-zoo/dqn" / f"{ENV}_1")
    assert f"RUN={brought.path}" in output
    assert (brought.facts["seed"], brought.facts["steps"]) == (5, 200)
    seen = evaluations(brought)
    assert seen is not None
    assert seen["timesteps"].tolist() == [200]
    assert brought.model("best").is_file()
    for command in ("evaluate", "plot"):
        flags = ("--episodes", 1) if command == "evaluate" else ()
        run(f"scripts.{command}", "--run", brought.path, *flags)
    compared = run("scripts.compare", "--game", "Pong", "--recipes", "dqn-zoo", "--logs", logs)
    assert "dqn-zoo" in compared


def test_an_agent_without_config_yml_gets_the_usual_network(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    agent = "dqn-SpaceInvadersNoFrameskip-v4.zip"
    shutil.copyfile(AGENTS / "SpaceInvaders" / agent, bare / agent)
    brought = bring_in(of_folder(bare), tmp_path / "logs")
    assert brought.hyperparams.frame_stack == 4
    assert brought.model("final").is_file()


def test_folders_without_an_agent_are_refused(of_the_zoo: Path, trained: Path) -> None:
    (of_the_zoo / f"{ENV}.zip").unlink()
    other = of_the_zoo.rename(of_the_zoo.parents[1] / f"{ENV}_1")
    for folder, said in (
        (other, "which the zoo writes at a training's end"),
        (next(trained.glob("*/*/*/run.json")).parent, "is a run folder; give it as RUN"),
        (trained, "needs one agent"),
    ):
        status, output = ended("scripts.pull", "--repo", folder)
        assert (status, said in output) == (2, True), output
    status, output = ended("scripts.evaluate", "--run", other)
    assert (status, "make pull REPO=" in output) == (2, True)


def test_a_checkpoint_is_evaluated_by_its_name(trained: Path, tmp_path: Path) -> None:
    own = open_run(next(trained.glob("*/*/*/run.json")).parent)
    shutil.copytree(own.path, tmp_path / "run")
    name = own.checkpoints()[0].name
    flags = ("--run", tmp_path / "run", "--episodes", 1, "--model")
    assert f"model {name}" in run("scripts.evaluate", *flags, name)
    status, output = ended("scripts.evaluate", *flags, "../run.json")
    assert (status, f"has no ../run.json model; it has: {name}, " in output) == (2, True)


def test_a_training_without_evaluations(small_recipe: Path, tmp_path: Path) -> None:
    flags = ("--game", "Pong", "--recipe", small_recipe, "--steps", 120, "--logs", tmp_path)
    run("scripts.train", *flags, "--eval-freq", -1, "--no-report")
    made = open_run(next(tmp_path.glob("*/*/*/run.json")).parent)
    assert (made.facts["eval_freq"], evaluations(made)) == (-1, None)
    assert made.facts["state"] == "finished"


def run_of(folder: Path, algo: str = "dqn", **values: Any) -> Run:
    entry = {ENV: {**WHOLE, **values, "algo": algo}}
    (folder / "recipe.yml").write_text(yaml.safe_dump(entry))
    return Run(folder, {"algo": algo, "env_id": ENV})


def write(folder: Path, agent: bytes, **members: bytes | None) -> Path:
    names = {"policy": "policy.pth", "optimizer": "policy.optimizer.pth", "data": "data"}
    new = unzipped(agent) | {names[key]: content for key, content in members.items()}
    file = folder / "agent.zip"
    kept = {name: content for name, content in new.items() if content is not None}
    file.write_bytes(zipped(kept))
    return file


@pytest.fixture
def agent(zoo: Zoo) -> bytes:
    return zoo["dqn"][f"dqn-{ENV}.zip"]


def test_neither_optimizer_nor_all_numbers_are_needed(agent: bytes, tmp_path: Path) -> None:
    for content in (None, b"neither a zip nor a pickle"):
        file = write(tmp_path, agent, optimizer=content)
        assert safe_agent(run_of(tmp_path), file, "cpu").num_timesteps == 200
    records = unzipped(unzipped(agent)["policy.pth"])
    renamed = {f"policy/{name.partition('/')[2]}": record for name, record in records.items()}
    file = write(tmp_path, agent, policy=zipped(renamed))
    assert safe_agent(run_of(tmp_path), file, "cpu").num_timesteps == 200
    file = write(tmp_path, agent, data=json.dumps({"gamma": 0.1}).encode())
    model: Any = safe_agent(run_of(tmp_path), file, "cpu")
    assert (model.num_timesteps, model.gamma) == (0, 0.99)


def test_a_target_network_may_have_the_numbers_of_the_other(agent: bytes, tmp_path: Path) -> None:
    weights = weights_of(unzipped(agent)["policy.pth"])
    for name in list(weights):
        weights[name] = weights[name.replace("_target.", ".")]
    file = write(tmp_path, agent, policy=saved(weights))
    policy: Any = safe_agent(run_of(tmp_path), file, "cpu").policy
    first, second = (next(net.parameters()) for net in (policy.q_net, policy.q_net_target))
    assert th.equal(first, second)
    assert first.data_ptr() != second.data_ptr()


@pytest.mark.parametrize("kind", [th.float64, th.int64, th.bool])
def test_types_that_buffers_may_have_are_read(agent: bytes, tmp_path: Path, kind: Any) -> None:
    weights = weights_of(unzipped(agent)["policy.pth"]) | {"mask": th.zeros(1, dtype=kind)}
    file = write(tmp_path, agent, policy=saved(weights))
    with pytest.raises(ValueError, match=f"mask is 1 of {kind} in it, and missing in the recipe"):
        safe_agent(run_of(tmp_path), file, "cpu")


def test_the_values_are_the_recipes_and_no_replay_is_made(agent: bytes, tmp_path: Path) -> None:
    values = {"n_steps": 3, "buffer_size": 10**9, "learning_rate": "lin_1e-3", "gamma": 0.9}
    model: Any = safe_agent(
        run_of(tmp_path, train_freq=[2, "episode"], **values), write(tmp_path, agent), "cpu"
    )
    assert (model.buffer_size, model.n_steps, model.gamma) == (10**9, 3, 0.9)
    assert (model.learning_rate, model.train_freq.unit.value) == (1e-3, "episode")
    assert type(model.replay_buffer) is NStepReplayBuffer
    assert model.replay_buffer.buffer_size == 1
    model.save(tmp_path / "again.zip")
    again = DQN.load(tmp_path / "again.zip", device="cpu", buffer_size=1)
    assert (again.n_steps, again.gamma) == (3, 0.9)
