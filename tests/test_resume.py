"""An interrupted training resumes exactly where it stopped."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch as th

from custom.env.workers import WorkerVecEnv
from custom.learner.engine import Engine
from custom.recipe.games import find_game
from custom.runs.folder import Run, open_run
from custom.runs.metrics import evaluations, finished_games
from custom.system.errors import UserError
from custom.system.manifest import exists
from custom.training.prepare import prepare
from custom.training.resume import resume
from custom.training.settings import Settings
from custom.training.train import train
from tests.conftest import At, Patch, Printed, longer, refused, small
from tests.test_matrix import KilledError

STEPS, EVERY = 240, 60
STOPPED, KILLED = {"stop": 131}, {"kill": 199}
PAPER = {"env_wrapper": ["custom.wrappers.DeepMindAtariWrapper"]}
NET = {"features_extractor_kwargs": {"features_dim": 32}}
RMSPROP = {"optimizer_class": "custom.optimizers.DeepMindRMSprop", **NET}
RMSPROP |= {"optimizer_kwargs": {"alpha": 0.95, "eps": 1e-5}}
NOISE = {"policy": "custom.policies.AtariPolicy", "policy_kwargs": {**NET, "noisy": True}}
PRIORITIES = {"prioritized_replay": {"alpha": 0.6, "beta": 0.4}, "n_steps": 3, "buffer_size": 150}
FIRST = {"n_envs": 4, "frame_stack_padding": "first", "learning_rate": "lin_1e-4"}
EVALUATED = ("sticky, RMSProp", "episodes")  # the others not: full games take long
OPTIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lives and FIRE": ("dqn", "Breakout", {}),
    "sticky, RMSProp": ("dqn", "ALE/Breakout-v5", {**PAPER, "policy_kwargs": RMSPROP}),
    "priorities, returns": ("dqn", "Breakout", PRIORITIES),
    "noise": ("dqn", "Pong", NOISE),
    "four games, first frames": ("dqn", "Breakout", FIRST),
    "quantiles": ("qrdqn", "Pong", {}),
    "episodes": ("dqn", "Breakout", {"train_freq": [1, "episode"]}),
}


def trained(logs: Path, name: str, stop: int = 0, kill: int = 0, **more: Any) -> Run:
    algo, game, options = OPTIONS[name]
    recipe = small(algo, **{"n_timesteps": STEPS, **options})
    eval_freq = 2 * EVERY if name in EVALUATED else STEPS + 1
    how: dict[str, Any] = {"eval_freq": eval_freq, "eval_episodes": 1, "save_freq": EVERY, **more}
    settings = Settings(seed=3, logs=logs, device="cpu", **how)
    experiment = prepare(recipe, find_game(game), settings)

    def killed() -> None:
        raise KilledError

    acts = At(stop, experiment.status.request_stop), At(kill, killed)
    experiment = replace(experiment, callbacks=(*experiment.callbacks, *acts))
    with suppress(KilledError):
        train(experiment)
    return open_run(experiment.run.path)


def the_same(a: Run, b: Run) -> None:
    for which in ("final", "best") if evaluations(a) else ("final",):
        agents = [th.load(_policy(run.model(which)), weights_only=True) for run in (a, b)]
        assert all(th.equal(agents[0][name], agents[1][name]) for name in agents[0])
    for mine, other in zip(finished_games(a).values(), finished_games(b).values(), strict=True):
        assert np.array_equal(mine, other)
    assert _monitored(a) == _monitored(b)
    ours, theirs = evaluations(a) or {}, evaluations(b) or {}
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert [p.name for p in a.checkpoints()] == [p.name for p in b.checkpoints()]
    assert a.facts["steps"] == b.facts["steps"]


def _monitored(run: Run) -> list[list[str]]:
    files = sorted(run.path.glob("*.monitor.csv"))
    return [[line.rpartition(",")[0] for line in f.read_text().splitlines()[1:]] for f in files]


def _policy(agent: Path) -> Any:
    return ZipFile(agent).open("policy.pth")


ENDS = [(name, (STOPPED, KILLED)[i % 2]) for i, name in enumerate(OPTIONS)]


@pytest.mark.parametrize(("name", "how"), [*ENDS[:2], *longer(*ENDS[2:])])
def test_a_resumed_run_is_the_same_run(name: str, how: Any, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", name)
    assert whole.facts["state"] == "finished"
    assert not whole.saved_state.exists()
    first = trained(tmp_path / "first", name, **how)
    assert first.facts["state"] == ("interrupted" if how is STOPPED else "failed")
    th.rand(7)
    np.random.rand(7)  # another process has other random numbers
    th.set_num_threads(2)
    experiment = resume(first, "cpu")
    assert th.get_num_threads() == 1
    at = experiment.model.num_timesteps
    assert 0 < at < STEPS
    assert train(experiment) == 0
    over = open_run(first.path)
    the_same(whole, over)
    assert (name in EVALUATED) == (evaluations(over) is not None)
    assert [entry["steps"] for entry in over.facts["resumed"]] == [at]
    assert not over.saved_state.exists()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("lives and FIRE", 2, 2), ("priorities, returns", 3, 1), *longer(("quantiles", 1, 3))],
)
def test_eight_games_go_on_elsewhere(name: str, before: int, after: int, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", name, engine=Engine(n_envs=8, workers=1))
    first = trained(tmp_path / "first", name, engine=Engine(n_envs=8, workers=before), **KILLED)
    first.update(engine={**first.facts["engine"], "workers": after})
    experiment = resume(first, "cpu")
    assert isinstance(experiment.model.env.unwrapped, WorkerVecEnv) is (after > 1)
    assert train(experiment) == 0
    the_same(whole, open_run(first.path))


def test_an_evaluation_that_was_broken_off_is_made_after_all(tmp_path: Path) -> None:
    stop = 2 * EVERY - 1
    first = trained(tmp_path, "sticky, RMSProp", stop=stop, save_freq=2 * EVERY)
    assert evaluations(first) is None
    assert first.facts["state"] == "interrupted"  # also if all steps were played
    experiment = resume(first, "cpu")
    assert stop - 4 < experiment.model.num_timesteps <= stop  # just before it was due
    assert train(experiment) == 0
    over = open_run(first.path)
    found = evaluations(over)
    assert found is not None
    assert found["timesteps"].tolist() == [2 * EVERY, STEPS]
    assert over.facts["state"] == "finished"


def test_a_full_disk_costs_a_state(tmp_path: Path, monkeypatch: Patch, capsys: Printed) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("custom.training.saved_state.save_steps", full)
    monkeypatch.setattr("custom.training.callbacks.save_agent", full)
    run = trained(tmp_path, "noise")
    assert run.facts["state"] == "finished"
    said, reason = capsys.readouterr().out, "[Errno 28] No space left on device"
    assert f"step 56: state not saved: {reason}; the training continues" in said
    assert f"step 60: Checkpoints failed: {reason}; the training continues" in said


@pytest.mark.parametrize("what", ["recipe.yml", "run.json"])
def test_a_run_whose_recipe_or_settings_were_edited_is_refused(what: str, tmp_path: Path) -> None:
    run = trained(tmp_path, "noise", **STOPPED)
    if what == "run.json":
        run.update(n_timesteps=200)
    else:
        file = run.path / what
        file.write_text(file.read_text().replace("n_timesteps: 240", "n_timesteps: 2400"))
    with pytest.raises(UserError, match=r"recipe.yml or run.json has changed"):
        resume(open_run(run.path), "cpu")


def test_what_cannot_go_on_is_left_as_it_is(tmp_path: Path, monkeypatch: Patch) -> None:
    run = trained(tmp_path, "noise", **STOPPED)
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    monkeypatch.setattr("custom.training.resume.PATIENCE", 0.0)
    with run.lock():
        assert run.is_locked()
        with pytest.raises(UserError, match="in use by another process"):
            resume(run)
    assert not run.is_locked()
    assert {path: path.read_bytes() for path in files} == files
    shutil.rmtree(run.saved_state)
    assert "has no saved state" in refused("scripts.resume", "--run", run.path)
    run.update(state="finished")
    assert "is finished" in refused("scripts.resume", "--run", run.path)


@pytest.mark.parametrize("how", ["flipped", *longer("shortened", "missing")])
def test_a_damaged_state_gives_way_to_the_last(how: str, tmp_path: Path, capsys: Printed) -> None:
    whole = trained(tmp_path / "whole", "noise")
    run = trained(tmp_path / "damaged", "noise", stop=2 * EVERY + 50)
    newest, before = (
        json.loads((run.saved_state / name).read_text())
        for name in ("manifest.json", "manifest-before.json")
    )
    names = {path.name for path in run.saved_state.iterdir()}
    assert {*newest, *before, "manifest.json", "manifest-before.json"} == names
    for name in newest.keys() - before.keys():
        copied = tmp_path / how / name / "small/dqn" / run.path.name
        shutil.copytree(run.path, copied)
        damage(copied / "state" / name, how)
        for record in ("training_games.csv", "0.monitor.csv"):  # of which the state has a copy
            damage(copied / record, "shortened")
        capsys.readouterr()
        assert train(resume(open_run(copied), "cpu")) == 0
        assert f"the newest state is damaged ({name} " in capsys.readouterr().out
        the_same(open_run(copied), whole)
    for name in newest.keys() & before.keys():
        damage(run.saved_state / name, how)
        with pytest.raises(UserError, match=f"cannot be resumed .{name} "):
            resume(run, "cpu")
        break


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if how == "missing":
        file.unlink()
    else:
        file.write_bytes(content if how == "flipped" else content[:-1])


def test_a_state_may_be_too_large(tmp_path: Path, capsys: Printed, monkeypatch: Patch) -> None:
    run = trained(tmp_path / "a b", "noise", stop=EVERY)
    assert f"make resume RUN='{run.path}' resumes it" in capsys.readouterr().out
    assert exists(run.saved_state)
    monkeypatch.setattr("custom.training.saved_state.ROOM", 10**12)
    large = trained(tmp_path, "noise", stop=EVERY)
    unwanted = trained(tmp_path, "noise", stop=EVERY, engine=Engine(buffer="sb3"))
    assert capsys.readouterr().out.count("it cannot be resumed: its state was not saved") == 2
    assert not large.saved_state.exists()
    assert not unwanted.saved_state.exists()
