"""The learner against SB3's DQN, on real games."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.vec_env import VecEnv

from custom.env.games import make_games
from custom.learner.dqn import AtariDQN, AtariQRDQN
from custom.learner.engine import Engine
from custom.optimizers import DeepMindRMSprop
from custom.policies import AtariPolicy
from custom.recipe.games import find_game
from custom.replay.buffer import Batch
from tests.conftest import SMALL, Printed, python, typed

PLAIN = Engine(update="sb3", buffer="sb3")
RMSPROP = {"optimizer_class": DeepMindRMSprop, "optimizer_kwargs": {"alpha": 0.9}}
cuda = pytest.mark.skipif(not th.cuda.is_available(), reason="needs a GPU")


def learner(
    algorithm: type[DQN] = AtariDQN, n_envs: int = 1, env: VecEnv | None = None, **changed: Any
) -> DQN:
    policy_kwargs = {**SMALL["policy_kwargs"], **changed.pop("policy_kwargs", {})}
    usual = {"buffer_size": 250, "learning_starts": 40, "train_freq": 1, "seed": 4, "device": "cpu"}
    usual |= {"target_update_interval": 70, "exploration_fraction": 0.8}
    env = env or make_games(find_game("Pong"), typed(SMALL), n_envs, seed=0)
    return algorithm("CnnPolicy", env, policy_kwargs=policy_kwargs, **usual | changed)


def weights(model: DQN) -> list[th.Tensor]:
    return [p.detach().clone() for p in model.policy.parameters()]


def equal(first: DQN, second: DQN) -> bool:
    return all(th.equal(p, q) for p, q in zip(weights(first), weights(second), strict=True))


@pytest.mark.parametrize(("buffer", "n_steps"), [("frames", 1), ("sb3", 1), ("frames", 3)])
def test_with_every_option_off_it_is_sb3s_bit_for_bit(buffer: str, n_steps: int) -> None:
    options = {"n_steps": n_steps, "buffer_size": 90}  # which goes round
    theirs = learner(DQN, **options).learn(160)
    ours = learner(engine=Engine(update="sb3", buffer=buffer), **options).learn(160)
    assert ours._n_updates == 120
    assert equal(theirs, ours)
    assert ours.logger.name_to_value["train/loss"] == pytest.approx(
        theirs.logger.name_to_value["train/loss"], rel=1e-6
    )


def test_the_fast_update_is_sb3s_within_rounding() -> None:
    model, fast = learner(engine=PLAIN), learner()
    model.learn(100)
    batches = [model.replay_buffer.sample(32) for _ in range(20)]
    fast.set_parameters(copy.deepcopy(model.get_parameters()))
    start = th.cat([p.flatten() for p in weights(model)])
    for one in (model, fast):
        update = one.make_update(32)
        for batch in batches:
            update.step(Batch(*batch))
    plain, quick = (th.cat([p.flatten() for p in weights(m)]) for m in (model, fast))
    moved = (plain - start).abs().max()
    assert moved > 1e-3
    assert (plain - quick).abs().max() < 0.01 * moved  # Adam makes much of small differences


@pytest.mark.parametrize("policy_kwargs", [{}, RMSPROP], ids=["Adam", "DeepMindRMSprop"])
def test_schedules_of_the_learning_rate_work(policy_kwargs: dict[str, Any]) -> None:
    model = learner(learning_rate=lambda left: 1e-4 * left, policy_kwargs=policy_kwargs)
    seen: list[float] = []
    group = model.policy.optimizer.param_groups[0]
    model.learn(100, callback=lambda *_: seen.append(group["lr"]) or True)
    assert seen[99] == pytest.approx(1e-4 * 0.01, rel=0.5)
    assert seen[50] == pytest.approx(1e-4 * 0.5, rel=0.05)


def test_a_learning_rate_on_the_device_is_changed_in_place() -> None:
    model = learner()
    rate = th.tensor(1.0)
    model.policy.optimizer.param_groups[0]["lr"] = rate
    model.learn(60)
    assert rate == pytest.approx(1e-4)
    assert model.policy.optimizer.param_groups[0]["lr"] is rate
    assert model.get_parameters()["policy.optimizer"]["param_groups"][0]["lr"] == rate.item()


LOAD = """
import json
import sys
import numpy as np
sys.modules["custom"] = None  # as where this project is not installed
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
actions = []
for name in sys.argv[1:]:
    algorithm = QRDQN if name.startswith("QRDQN") else DQN
    model = algorithm.load(f"{name}.zip", device="cpu", buffer_size=1)
    actions.append(model.predict(np.load(f"{name}.npy"), deterministic=True)[0].tolist())
    group = model.policy.optimizer.param_groups[0]
    assert not group["fused"] and isinstance(group["lr"], float), group
print(json.dumps(actions))
"""


PLAIN_TO_PLAY: dict[str, dict[str, Any]] = {  # what only learning needs
    "Adam": {},
    "DeepMindRMSprop": {"policy_kwargs": RMSPROP},
    "double, 3 steps": {"double_q": True, "n_steps": 3},
    "prioritized, mse": {"prioritized_replay": {"alpha": 0.6}, "loss": "mse"},
    "munchausen": {"munchausen_alpha": 0.9, "exploration_decay": 1e-3},
    "sb3-contrib's": {"algorithm": AtariQRDQN, "n_steps": 3},
}


def test_plain_sb3_loads_what_it_saves(tmp_path: Path) -> None:
    expected = {}
    for number, options in enumerate(PLAIN_TO_PLAY.values()):
        model = learner(**options).learn(60)
        name = f"{type(model).__name__.removeprefix('Atari')}-{number}"
        with (tmp_path / f"{name}.zip").open("wb") as file:
            model.save_for_sb3(file)
        obs = model.replay_buffer.sample(20).observations.numpy()
        np.save(tmp_path / f"{name}.npy", obs)
        expected[name] = model.predict(obs, deterministic=True)[0].tolist()
    done = python("-W", "error", "-c", LOAD, *expected, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == list(expected.values())


@pytest.mark.parametrize("policy_kwargs", [{}, RMSPROP], ids=["Adam", "DeepMindRMSprop"])
def test_parameters_can_be_taken_and_given_back(
    policy_kwargs: Any, tmp_path: Path, capsys: Printed
) -> None:
    model = learner(policy_kwargs=policy_kwargs).learn(60)
    state = model.policy.optimizer.state_dict()["state"][0]
    name = "exp_avg_sq" if not policy_kwargs else "square_avg"
    before = state[name].clone()
    other = copy.deepcopy(model.get_parameters())
    other["policy.optimizer"]["param_groups"][0]["eps"] = 1.0
    other["policy.optimizer"]["state"] = {}
    model.set_parameters(other)  # of another eps: neither it nor the averages are taken
    assert "its averages are not taken" in capsys.readouterr().out
    assert model.policy.optimizer.param_groups[0]["eps"] < 1
    assert th.equal(model.policy.optimizer.state_dict()["state"][0][name], before)
    with (tmp_path / "agent.zip").open("wb") as file:
        model.save_for_sb3(file)  # with an Adam that was not used, where ours is of no use
    model.set_parameters(tmp_path / "agent.zip")
    assert ("is not this DeepMindRMSprop" in capsys.readouterr().out) is bool(policy_kwargs)
    assert th.equal(model.policy.optimizer.state_dict()["state"][0][name], before)
    model.learn(60, reset_num_timesteps=False)


def test_a_named_buffer_is_used_and_bf16_has_float32_weights(tmp_path: Path) -> None:
    assert type(learner(replay_buffer_class=ReplayBuffer).replay_buffer) is ReplayBuffer
    assert type(learner(engine=PLAIN).replay_buffer) is ReplayBuffer
    saving = CheckpointCallback(20, str(tmp_path))
    runs = [learner(policy_kwargs=RMSPROP).learn(120, callback=more) for more in (None, saving)]
    assert equal(*runs)
    model = learner(engine=Engine(precision="bf16"))
    before = weights(model)
    model.learn(80)
    assert all(p.dtype == th.float32 and th.isfinite(p).all() for p in model.policy.parameters())
    assert not th.equal(before[0], weights(model)[0])


class WithPolicy(AtariDQN):
    def __init__(self, policy: object, *args: Any, **kwargs: Any) -> None:
        super().__init__(AtariPolicy, *args, **kwargs)


CAPTURED: dict[str, dict[str, Any]] = {
    "dqn": {},
    "RMSProp": {"policy_kwargs": RMSPROP},
    "noise": {"algorithm": WithPolicy, "policy_kwargs": {"noisy": True}},
    "double, 3 steps": {"double_q": True, "n_steps": 3},
    "prioritized, munchausen, quantiles": {
        "algorithm": WithPolicy,
        "prioritized_replay": {},
        "munchausen_alpha": 0.9,
        "policy_kwargs": {"n_quantiles": 11},
    },
    "atoms, dueling": {
        "algorithm": WithPolicy,
        "double_q": True,
        "policy_kwargs": {"n_atoms": 21, "dueling": True},
    },
}


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("options", CAPTURED.values(), ids=CAPTURED)
def test_what_can_and_cannot_be_captured_learns(options: Any, works: bool) -> None:
    model = learner(**{**options, "learning_starts": 10**6}).learn(90)
    update, before = model.make_update(16), weights(model)
    update.capture()
    step = update._graph._function  # as a graph would on a GPU
    update._graph = lambda key: works and (step() or True)
    update(3)
    assert not th.equal(before[0], weights(model)[0])


@cuda
@pytest.mark.parametrize("options", CAPTURED.values(), ids=CAPTURED)
def test_a_captured_update_is_the_eager_one(options: dict[str, Any]) -> None:
    ends = []
    for captured in (True, False):
        model = learner(device="cuda", buffer_size=2000, learning_starts=10**6, **options)
        model.learn(500)
        places = th.arange(32, device="cuda") * 9, th.zeros(32, dtype=th.int64, device="cuda")
        model.replay_buffer.draw = lambda *_, places=places: places
        update = model.make_update(32)
        if captured:
            update.capture()
        for _ in range(100):
            update(1)
        assert not captured or update._graph._graph is not None
        ends.append(th.cat([p.flatten() for p in weights(model)]))
    assert th.allclose(*ends, rtol=1e-4, atol=1e-6)


@cuda
@pytest.mark.parametrize("policy_kwargs", [{}, RMSPROP], ids=["Adam", "DeepMindRMSprop"])
def test_a_gpu_learns_by_graphs_after_a_load(policy_kwargs: Any, tmp_path: Path) -> None:
    model = learner(device="cuda", n_envs=2, policy_kwargs=policy_kwargs)
    model.learn(300)
    assert model._update._graph._graph is not None
    model.save(tmp_path / "agent.zip")
    model.set_parameters(tmp_path / "agent.zip")
    before = weights(model)
    model.learn(300, reset_num_timesteps=False)
    assert not model._update._graph.failed
    assert not th.equal(before[0], weights(model)[0])
