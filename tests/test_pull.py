"""Agents of the Hub as run folders: those of the zoo, and those of this project."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
import yaml
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecEnv

from custom.env.games import make_games
from custom.hub.client import client
from custom.hub.publish import write_bundle
from custom.hub.pull import pull
from custom.recipe.games import find_game
from custom.recipe.yaml_text import literal, read_yaml
from custom.runs.agents import load_agent
from custom.runs.folder import Run, latest_run
from custom.system.errors import UserError
from custom.training.prepare import prepare
from custom.training.settings import Settings
from custom.training.train import train
from tests.conftest import Patch, refused, run, small
from tests.foreign import ENV, Files, Zoo
from tests.servers.hub import Hub

REPO = "tester/dqn-Pong"
SB3 = {"dqn": DQN, "qrdqn": QRDQN}


def pulled(hub: Hub, files: Files, logs: Path) -> Run:
    hub.add(REPO, files)
    return pull(client(), REPO, "", logs)


def actions(model: DQN, run: Run) -> np.ndarray:
    env: VecEnv = make_games(run.game, run.hyperparams, 4, seed=1)
    random, chosen, obs = np.random.default_rng(0), [], env.reset()
    for _ in range(20):
        chosen.append(model.predict(obs, deterministic=True)[0])
        obs, *_ = env.step(random.integers(6, size=4))
    env.close()
    return np.array(chosen)


@pytest.mark.parametrize("algo", ["dqn", "qrdqn"])
def test_an_agent_of_the_zoo_plays_as_there(algo: str, hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    files = zoo[algo]
    run = pulled(hub, files, tmp_path / "logs")
    assert run.path == tmp_path / f"logs/tester--dqn-Pong/{algo}/{ENV}_1"
    (tmp_path / "theirs.zip").write_bytes(files[f"{algo}-{ENV}.zip"])
    theirs = SB3[algo].load(tmp_path / "theirs.zip", device="cpu")
    ours = load_agent(run, run.final_model, "cpu")
    by_sb3 = SB3[algo].load(run.final_model, device="cpu")
    assert np.array_equal(actions(ours, run), actions(theirs, run))
    for loaded in (ours, by_sb3):
        for name, tensor in theirs.policy.state_dict().items():
            assert th.equal(loaded.policy.state_dict()[name], tensor)
        assert loaded.num_timesteps == theirs.num_timesteps == 200
        for name in ("gamma", "learning_rate", "buffer_size", "target_update_interval"):
            assert getattr(loaded, name) == getattr(theirs, name), name


def test_the_optimizer_is_saved_with_the_agent(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    entry = dict(read_yaml(zoo["dqn"]["config.yml"], "config.yml"))
    kwargs = literal("policy_kwargs", entry.get("policy_kwargs")) or {}
    entry["policy_kwargs"] = {**kwargs, "optimizer_class": "torch.optim.RMSprop"}
    entry.pop("normalize", None)
    files = {**zoo["dqn"], "recipe.yml": yaml.safe_dump({ENV: entry}).encode()}
    run = pulled(hub, files, tmp_path)
    assert isinstance(DQN.load(run.final_model, buffer_size=1).policy.optimizer, th.optim.RMSprop)


def test_only_the_agent_and_the_recipe_are_fetched(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    files = {**zoo["dqn"], "replay_buffer.pkl": b"x", "vec_normalize.pkl": b"x"}
    run = pulled(hub, files, tmp_path)
    resolved = [path.split("?")[0] for path in hub.requests if "/resolve/" in path]
    assert run.facts["pulled"] == {"repo": REPO, "revision": hub.commits(REPO)[-1]["id"]}
    assert (run.facts["state"], run.facts["seed"], run.facts["frame_skip"]) == ("pulled", -1, 4)
    fetched = {path.rpartition("/")[2] for path in resolved}
    assert fetched == {f"dqn-{ENV}.zip", "args.yml", "config.yml", "env_kwargs.yml"}
    names = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    settings = {f"{ENV}/config.yml", f"{ENV}/args.yml"}
    assert names == {f"{ENV}.zip", "recipe.yml", "run.json"} | settings
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Files:
    logs = tmp_path_factory.mktemp("own")
    game = find_game("ALE/RoadRunner-v5")
    own = {"policy": "custom.policies.AtariPolicy", "n_steps": 3, "n_timesteps": 48}
    recipe = small(**own, env_kwargs={"repeat_action_probability": 0.1})
    experiment = prepare(recipe, game, Settings(3, logs, eval_freq=24, eval_episodes=1))
    assert train(experiment, report_episodes=1) == 0
    folder = logs / "hub"
    folder.mkdir()
    write_bundle(folder, experiment.run, experiment.run.final_model, REPO)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_we_published_comes_back_as_it_was(hub: Hub, ours: Files, tmp_path: Path) -> None:
    run = pulled(hub, ours, tmp_path)
    assert (run.path / "recipe.yml").read_bytes() == ours["recipe.yml"]
    names = ("steps", "exploration_steps", "n_timesteps", "frame_skip")
    assert [run.facts[name] for name in names] == [48, 24, 48, 4]
    assert run.game.env_id == "ALE/RoadRunner-v5"
    assert run.env_kwargs == {"frameskip": 1, "repeat_action_probability": 0.1}
    assert type(load_agent(run, run.final_model, "cpu").policy).__name__ == "AtariPolicy"
    assert (run.path / "ALE-RoadRunner-v5/config.yml").read_bytes() == ours["config.yml"]


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [
        ("nothing", r"the agent's game was made with \{\}; ALE/Pong-v5 is made here"),
        ("args.yml env_kwargs.yml", "its game is made here with {.*}; neither args.yml nor"),
    ],
)
def test_another_frame_skip_is_refused(
    left_out: str, reason: str, hub: Hub, zoo: Zoo, tmp_path: Path
) -> None:
    files = {name: zoo["dqn"][name] for name in ("args.yml", "config.yml", "env_kwargs.yml")}
    files["args.yml"] = files["args.yml"].replace(ENV.encode(), b"ALE/Pong-v5")
    files = {name: content for name, content in files.items() if name not in left_out}
    with pytest.raises(UserError, match=reason):
        pulled(hub, files | {"dqn-ALE-Pong-v5.zip": zoo["dqn"][f"dqn-{ENV}.zip"]}, tmp_path)


def test_before_sb3_1_6_optimize_memory_usage_was_alone(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    files = {**zoo["dqn"]}
    files["config.yml"] += (
        b"  - - optimize_memory_usage\n    - true\n  - - normalize\n    - false\n"
    )
    run = pulled(hub, files, tmp_path)
    assert run.hyperparams.replay_buffer_kwargs == {"handle_timeout_termination": False}


def test_any_revision_is_pulled_by_the_command(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    first = hub.add(REPO, zoo["dqn"])
    hub.add(REPO, {"config.yml": b"normalize: true"})
    assert pull(client(), REPO, first, tmp_path).facts["pulled"]["revision"] == first
    with pytest.raises(UserError, match="normalize is not known here; it names code or needs"):
        pull(client(), REPO, "", tmp_path)
    with pytest.raises(UserError, match="is not there"):
        pull(client(), REPO, "nowhere", tmp_path)
    hub.add("tester/other", zoo["qrdqn"])
    shown = run("scripts.pull", "--repo", "tester/other", "--logs", tmp_path).splitlines()
    assert shown[-1] == f"Run: {tmp_path}/tester--other/qrdqn/{ENV}_1"
    assert shown[-2] == f"make evaluate RUN={tmp_path}/tester--other/qrdqn/{ENV}_1"
    assert "qrdqn on PongNoFrameskip-v4, 200 steps" in shown[-3]
    assert "write REPO=user/name" in refused("scripts.pull", "--logs", tmp_path)
    assert "write REPO=user/name" in refused("scripts.pull", "--repo", "a/../b", "--logs", tmp_path)


def test_a_full_disk_leaves_nothing(hub: Hub, zoo: Zoo, tmp_path: Path, monkeypatch: Patch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("custom.system.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        pulled(hub, zoo["dqn"], tmp_path / "logs")
    assert list((tmp_path / "logs").iterdir()) == []


@pytest.mark.parametrize("n", range(9))
def test_a_cut_pull_is_a_run_or_a_line(n: int, hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    hub.add(REPO, zoo["dqn"])
    hub.cut(n)
    logs, refusals = tmp_path / "logs", []
    try:
        pull(client(), REPO, "", logs)
    except UserError as error:
        refusals.append(str(error))
    if refusals:
        assert "cannot be reached" in refusals[0]
        assert not logs.exists() or list(logs.iterdir()) == []
    else:
        assert latest_run(logs, find_game("Pong"), "tester--dqn-Pong").facts["steps"] == 200


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"config.yml": None}, "is 32x3136 of torch.float32 in it, and 512x3136"),
        ({f"dqn-{ENV}.zip": None, f"ppo-{ENV}.zip": b""}, f"it has: ppo-{ENV}.zip"),
        ({"config.yml": (b"dim=32", b"dim=64")}, "is 32x3136 of torch.float32 in it, and 64x3136"),
    ],
)
def test_what_does_not_fit_is_refused(
    files: Any, reason: str, hub: Hub, zoo: Zoo, tmp_path: Path
) -> None:
    sound = zoo["dqn"]
    changes = {k: sound[k].replace(*v) if isinstance(v, tuple) else v for k, v in files.items()}
    with pytest.raises(UserError, match=reason):
        pulled(hub, {k: v for k, v in (sound | changes).items() if v is not None}, tmp_path)
