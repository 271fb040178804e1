"""Agents of SB3's files, built from their recipe and filled with their tensors."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch as th
import yaml
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer

from custom.runs.agents import safe_agent
from custom.runs.folder import Run
from tests.conftest import WHOLE
from tests.foreign import ENV, Zoo, saved, unzipped, weights_of, zipped


def run_of(folder: Path, algo: str = "dqn", **values: Any) -> Run:
    entry = {ENV: {**WHOLE, **values, "algo": algo}}
    (folder / "recipe.yml").write_text(yaml.safe_dump(entry))
    return Run(folder, {"algo": algo, "env_id": ENV})


def write(folder: Path, agent: bytes, **members: bytes | None) -> Path:
    names = {"policy": "policy.pth", "optimizer": "policy.optimizer.pth", "data": "data"}
    new = unzipped(agent) | {names[key]: content for key, content in members.items()}
    file = folder / "agent.zip"
    file.write_bytes(
        zipped({name: content for name, content in new.items() if content is not None})
    )
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
