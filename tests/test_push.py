"""A run goes to the Hub in one commit, whatever happens on the way, and loads anywhere."""

import itertools
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch as th
import yaml
from stable_baselines3 import DQN

from custom.evaluation.protocol import Protocol
from custom.evaluation.results import EVALUATION_FILE, evaluate_run
from custom.hub.client import client, log_in
from custom.hub.publish import agent_name, check_repository, prepare, push, title
from custom.hub.publish import build as build_folder
from custom.runs.folder import Run, open_run
from custom.system.errors import UserError
from scripts.push import repository
from tests.conftest import ROOT, Patch, Printed, ended, python, refused
from tests.conftest import run as command
from tests.servers.hub import Hub

ENV = "RoadRunnerNoFrameskip-v4"
REPO = f"tester/small-{ENV}"
FILES = {f"dqn-{ENV}.zip", "replay.mp4", "train_eval_metrics.zip", "vec_normalize.pkl"}
FILES |= {".gitattributes", "README.md", "evaluation.json", "learning_curve.png"}
FILES |= {f"{name}.yml" for name in ("args", "config", "env_kwargs", "recipe")}


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    folder = trained / "small" / "dqn" / f"{ENV}_1"
    return open_run(Path(shutil.copytree(folder, tmp_path / "logs" / "small_1")))


def send(run: Run, repo: str = REPO, private: bool = False) -> bool:
    """As the command, without what `prepare` makes."""
    api = client()
    assert log_in(api)[0] == "tester"
    check_repository(api, repo, private, agent_name(run))
    return push(api, repo, build_folder(run, run.final_model, repo), title(run), private)


def test_one_commit_holds_the_folder_with_a_card_that_leaderboards_read(run: Run, hub: Hub) -> None:
    assert send(run)
    assert len(hub.commits(REPO)) == 2  # the first is the Hub's own
    found = hub.files(REPO)
    assert set(found) == FILES
    for file in (run.path / "hub").iterdir():
        assert found[file.name] == file.read_bytes(), file.name
    assert not send(run)
    assert len(hub.commits(REPO)) == 2
    hub.add(REPO, {"agent.onnx": b"of an earlier agent", "notes.md": b"theirs"})
    assert send(run)
    assert set(hub.files(REPO)) == {*FILES, "notes.md"}
    text = hub.files(REPO)["README.md"].decode()
    said = yaml.safe_load(text.split("---")[1])
    tags = ["deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3"]
    assert said["tags"][:4] == [ENV, *tags]
    assert said["library_name"] == "stable-baselines3"
    metric = said["model-index"][0]["results"][0]["metrics"][0]
    evaluation = json.loads((run.path / "evaluation.json").read_text())
    scores = f"{evaluation['mean']:.2f} +/- {evaluation['std']:.2f}"
    assert (metric["type"], metric["value"]) == ("mean_reward", scores)
    [info] = client().list_models(filter=[ENV, "reinforcement-learning"])
    assert info.id == REPO
    for part in (
        "| human | 7845.0 |",
        "| DQN (Nature 2015, 200M frames) | 18257.0 |",
        f"make pull REPO={REPO}",
        f"make train GAME={ENV} RECIPE=small-{ENV}/recipe.yml SEED=3",
        f"-orga tester -name small-{ENV}",
        "| steps | 400 of 400, each of 4 frames |",
        "| engine | buffer frames, ",
        "CPU cores",
        run.facts["git_revision"].partition("+")[0],
    ):
        assert part in text, part


def test_the_bundle_is_small_and_always_the_same_without_places(run: Run) -> None:
    folder = build_folder(run, run.final_model, REPO)
    small = folder / f"dqn-{ENV}.zip"
    assert small.stat().st_size < run.final_model.stat().st_size / 3
    before, after = (DQN.load(x, buffer_size=1) for x in (run.final_model, small))
    for name, weight in before.q_net.state_dict().items():
        assert th.equal(weight, after.q_net.state_dict()[name]), name
        assert th.equal(weight, after.q_net_target.state_dict()[name]), name
    assert after.num_timesteps == 400
    assert after.exploration_rate == before.exploration_rate
    assert after.policy.optimizer.param_groups[0]["lr"] == 1e-4
    whole, data = (json.loads(zipfile.ZipFile(x).read("data")) for x in (run.final_model, small))
    assert "_last_obs" not in data
    assert data["buffer_size"] == whole["buffer_size"]
    (run.path / "diary.csv").write_text("mine")
    folder = build_folder(run, run.final_model, REPO)
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    for name, content in first.items():
        assert str(run.path.parents[2]).encode() not in content, name
        assert str(ROOT).encode() not in content, name
    names = zipfile.ZipFile(folder / "train_eval_metrics.zip").namelist()
    assert names == ["evaluations.npz", "training_games.csv"]
    build_folder(run, run.final_model, REPO)
    assert first == {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.long
def test_the_code_on_the_card_plays_without_this_project(run: Run, hub: Hub) -> None:
    send(run)
    text = hub.files(REPO)["README.md"].decode()
    code = text.split("```python\n")[1].split("```")[0].replace("range(1000)", "range(20)")
    code = f"import sys\nsys.modules['custom'] = None\n{code}print(obs.shape)"
    done = python("-c", code, cwd=run.path)
    assert done.stdout.splitlines()[-1:] == ["(1, 36, 36, 4)"], done.stderr


@pytest.mark.long
def test_the_zoo_loads_and_plays_a_pushed_agent(run: Run, hub: Hub, tmp_path: Path) -> None:
    send(run)
    agent = ("--algo", "dqn", "--env", ENV, "-f", tmp_path / "zoo")
    how: Any = {"cwd": tmp_path, "TRUST_REMOTE_CODE": "True"}
    name = ("-orga", "tester", "-name", f"small-{ENV}")
    loaded = python("-m", "rl_zoo3.load_from_hub", *agent, *name, **how)
    assert loaded.returncode == 0, loaded.stderr
    played = python("-m", "rl_zoo3.enjoy", *agent, "--no-render", "-n", 1500, **how)
    assert "Atari Episode Score" in played.stdout, played.stderr


def test_an_agent_goes_and_comes_back_by_commands(trained: Path, hub: Hub, tmp_path: Path) -> None:
    logs = shutil.copytree(trained, tmp_path / "logs")
    pushed = logs / "small" / "dqn" / f"{ENV}_1"
    flags = ("scripts.push", "--run", pushed, "--episodes", 1)
    assert "nothing is pushed" in command(*flags, "--dry-run")
    assert hub.requests == []
    assert command(*flags).splitlines()[-2:] == ["one commit", f"Agent: {hub.url}/{REPO}"]
    assert "nothing has changed" in command(*flags)
    listed = command("scripts.leaderboard", "--game", "RoadRunner", "--logs", logs)
    assert f"{REPO} [yours]" in listed
    assert "[here]" not in listed  # it is the same agent
    shown = command("scripts.pull", "--repo", REPO, "--logs", logs).splitlines()[-1]
    recipes = (folder / "recipe.yml" for folder in (Path(shown.removeprefix("Run: ")), pushed))
    assert len({recipe.read_bytes() for recipe in recipes}) == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_push_cut_at_any_request_is_mended_by_the_next(run: Run, hub: Hub, after: bool) -> None:
    send(run)
    files, film, refusals = hub.files(REPO), run.path / "replay.mp4", []
    for n in itertools.count():
        repo, began = f"tester/cut-{n}", len(hub.requests)
        film.write_bytes(f"{n} {after}".encode())  # something new to be uploaded
        hub.cut(n, after)
        try:
            send(run, repo)
        except UserError as error:
            refusals.append(str(error))
        if len(hub.requests) - began <= n:  # the push was over before
            break
        hub.mend()
        send(run, repo)
        assert set(hub.files(repo)) == set(files), n
        assert hub.files(repo)["evaluation.json"] == files["evaluation.json"]
        assert hub.files(repo)["replay.mp4"] == film.read_bytes()
        assert len(hub.commits(repo)) == 2, n
        assert not send(run, repo)
    assert n > 6  # login, visibility, creation, head, preupload, batch, upload, commit
    assert refusals
    assert not any("\n" in refusal for refusal in refusals)


def test_a_commit_meanwhile_is_not_overwritten(run: Run, hub: Hub, monkeypatch: Patch) -> None:
    folder, api = build_folder(run, run.final_model, REPO), client()
    model_info = api.model_info

    def and_then_somebody_commits(repo: str) -> object:
        info = model_info(repo)
        hub.add(REPO, {"notes.txt": b"theirs"})
        return info

    monkeypatch.setattr(api, "model_info", and_then_somebody_commits)
    with pytest.raises(UserError, match="has changed meanwhile; run the same command again"):
        push(api, REPO, folder, title(run), private=False)
    assert set(hub.files(REPO)) == {".gitattributes", "notes.txt"}
    assert push(client(), REPO, folder, title(run), private=False)
    assert set(hub.files(REPO)) == FILES | {"notes.txt"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({f"qrdqn-{ENV}.zip": b"x"}, "holds another agent, qrdqn-Road"),
        ({"dqn-BreakoutNoFrameskip-v4.zip": b"x"}, "holds another agent, dqn-Breakout"),
        ({"README.md": b"---\ntags: [x]\n---\nBy hand."}, "a card of another project"),
    ],
)
def test_what_others_keep_there_stays(run: Run, hub: Hub, files: Any, said: str) -> None:
    hub.add(REPO, files)
    with pytest.raises(UserError, match=said):
        send(run)
    assert len(hub.commits(REPO)) == 2


def test_private_is_kept_to(run: Run, hub: Hub) -> None:
    send(run, private=True)
    assert hub.repositories[REPO]["private"]
    hub.add("tester/open", {"a.txt": b"x"})
    with pytest.raises(UserError, match=r"open: is public; make it private"):
        check_repository(client(), "tester/open", True, agent_name(run))
    with pytest.raises(UserError, match="is public"):  # it has become so meanwhile
        push(client(), "tester/open", run.path / "hub", title(run), private=True)
    assert set(hub.files("tester/open")) == {".gitattributes", "a.txt"}


@pytest.mark.long
def test_an_evaluation_and_a_film_are_made_where_none_is_fresh(run: Run, capsys: Printed) -> None:
    prepare(run, run.final_model, episodes=1)
    assert "was not evaluated" not in capsys.readouterr().out
    prepare(run, run.final_model, episodes=2)
    assert "changed since; full games: 2" in capsys.readouterr().out
    evaluate_run(run, Protocol(episodes=2, epsilon=0.5), run.final_model)
    prepare(run, run.final_model, episodes=1)
    assert "was not evaluated" in capsys.readouterr().out  # another protocol
    before = json.loads((run.path / "replay.json").read_text())
    DQN.load(run.final_model, buffer_size=2).save(run.path / "best_model.zip")
    prepare(run, run.model("best"), episodes=1)
    assert "was not evaluated" in capsys.readouterr().out  # another agent
    after = json.loads((run.path / "replay.json").read_text())
    assert (before["model"], after["model"]) == (f"{ENV}.zip", "best_model.zip")
    assert before["sha256"] != after["sha256"]


def test_a_wrong_name_or_token_costs_no_work(run: Run, hub: Hub, monkeypatch: Patch) -> None:
    (run.path / "evaluation.json").unlink()
    push_this = ("scripts.push", "--run", run.path)
    assert "write REPO=user/name" in refused(*push_this, "--repo", "a--b")
    wrong_owner = "you can push to tester, not to them"
    assert wrong_owner in refused(*push_this, "--repo", "them/theirs")
    hub.role = "read"
    assert "may only read" in refused(*push_this)
    monkeypatch.delenv("HF_TOKEN")
    assert "hf auth login" in refused(*push_this)
    assert not (run.path / "evaluation.json").exists()
    assert hub.repositories == {}


def test_an_agent_that_changes_or_changed_since_it_was_scored_is_not_pushed(run: Run) -> None:
    DQN.load(run.final_model, buffer_size=2).save(run.final_model)
    with pytest.raises(UserError, match="has changed since it was evaluated"):
        build_folder(run, run.final_model, REPO)
    assert not (run.path / "hub").exists()
    with run.lock(), pytest.raises(UserError, match="is being trained"):
        prepare(run, run.final_model, episodes=1)


def test_killed_and_pulled_runs_are_pushed_as_such(run: Run, hub: Hub) -> None:
    run.final_model.rename(run.path / "rl_model_400_steps.zip")
    run.update(state="running", steps=0)
    folder = build_folder(run, run.model("final"), REPO)
    text = (folder / "README.md").read_text()
    assert "| steps | 400 of 400" in text
    assert "| state | interrupted |" in text
    run.update(pulled={"repo": "them/theirs", "revision": "0" * 40}, seed=-1)
    assert "name your repository with REPO" in refused("scripts.push", "--run", run.path)
    text = (build_folder(run, run.model("final"), REPO) / "README.md").read_text()
    assert "SEED=" not in text
    assert "license" not in text
    assert "| pulled from | them/theirs at 000" in text
    parent = {
        "recipe": "dqn",
        "env_id": run.game.env_id,
        "steps": 400,
        "seed": 3,
        "taken": "weights",
    }
    del run.facts["pulled"]
    run.update(parent=parent | {"pulled": {}})
    text = (build_folder(run, run.model("final"), REPO) / "README.md").read_text()
    assert f"| began as | weights of dqn on {run.game.env_id}, 400 steps |" in text
    assert "license" not in text


def test_a_better_agent_is_replaced_only_when_asked(run: Run, hub: Hub) -> None:
    send(run)
    said = json.loads((run.path / EVALUATION_FILE).read_text())
    for worse, replace in ((1, False), (1, True), (-2, False)):
        (run.path / EVALUATION_FILE).write_text(json.dumps(said | {"mean": said["mean"] - worse}))
        flags = ("--run", run.path, "--repo", REPO, "--episodes", 1)
        if not worse > 0 or replace:
            output = command("scripts.push", *flags, *(["--replace"] if replace else []))
            assert "points replace" in output
            assert "EPISODES=1 says little" in output
        else:
            status, output = ended("scripts.push", *flags)
            assert (status, "holds a better agent" in output) == (2, True)
            assert len(hub.commits(REPO)) == 2
    assert len(hub.commits(REPO)) == 4


def test_no_token_is_published_and_the_name_is_of_recipe_and_game(run: Run, hub: Hub) -> None:
    with (run.path / "recipe.yml").open("a") as file:
        file.write(f"# with {hub.token}\n")
    with pytest.raises(UserError, match=r"recipe\.yml .* would publish a token") as error:
        send(run)
    assert hub.token not in str(error.value)
    assert not (run.path / "hub").exists()
    assert not list(run.path.glob(".hub*"))
    assert repository("me", "", run) == f"me/small-{ENV}"
    assert repository("me", "mine", run) == "me/mine"
    assert repository("me", "them/mine", run) == "them/mine"
    odd = Run(run.path, {**run.facts, "recipe": "my--rec..ipe"})
    assert repository("me", "", odd) == f"me/my-rec-ipe-{ENV}"
