"""Which runs are compared, which share a column, and which are left out with a reason."""

from pathlib import Path

import numpy as np
import pytest

from custom.compare.columns import Column, columns_of, differing, why_not
from custom.compare.comparison import compare, reached
from custom.compare.measured import Measured
from custom.compare.sources import from_logs
from custom.evaluation.scores import Level
from custom.recipe.games import find_game
from custom.system.errors import UserError
from tests.compared import PROTOCOL, Write

PONG = find_game("Pong")


def collected(logs: Path, *recipes: str) -> tuple[list[Measured], list[str]]:
    return from_logs(logs, [PONG], list(recipes or ["dqn"]))


def columns(tmp_path: Path, *recipes: str) -> list[Column]:
    return columns_of(collected(tmp_path / "logs", *recipes)[0])[0]


def test_runs_that_differ_in_their_seed_share_a_column(written: Write, tmp_path: Path) -> None:
    for seed in (3, 1):
        written(seed=seed, scores=[[0, 2], [4, seed]])
    [column] = columns(tmp_path)
    assert column.label == "dqn"
    assert [run.seed for run in column.runs] == [1, 3]
    assert column.curves.tolist() == [[1.0, 2.5], [1.0, 3.5]]
    assert column.first.frames.tolist() == [4000, 8000]  # 4 a step
    written(seed=1, values={"max_grad_norm": 10})
    written(seed=2, values={"max_grad_norm": 10.0})
    assert len(columns(tmp_path)) == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"state": "running"}, ": failed, not finished"),  # its process has gone
        ({"state": "pulled"}, ": pulled, not finished"),
        ({"evaluated": ()}, ": has no evaluation during its training"),
        ({"scores": [[0, 1], [np.nan, 1]]}, "its evaluations are not finite"),
        ({"evaluated": (2000, 1000)}, "their steps do not increase"),
        ({"n_timesteps": None}, "n_timesteps is None"),
        ({"n_timesteps": 10**400}, "_2"),
        ({"wall_clock_seconds": float("nan")}, "is damaged: wall_clock_seconds: "),
        ({"eval_protocol": {"epsilon": 0.05}}, "is damaged: eval_protocol.episodes: "),
    ],
)
def test_a_run_is_left_out(written: Write, tmp_path: Path, wrong: dict, reason: str) -> None:
    written(seed=1)
    folder = written(**{"seed": 2, **wrong})
    [run], [line] = collected(tmp_path / "logs")
    assert run.seed == 1
    assert str(folder) in line
    assert reason in line


@pytest.mark.parametrize("name", ["run.json", "recipe.yml", "evaluations.npz"])
def test_a_damaged_run_is_left_out_by_name(written: Write, tmp_path: Path, name: str) -> None:
    written(seed=1)
    (written(seed=2) / name).write_bytes(b"\0")
    [_], [reason] = collected(tmp_path / "logs")
    assert "PongNoFrameskip-v4_2" in reason


def test_runs_of_different_code_share_a_column(written: Write, tmp_path: Path) -> None:
    written(seed=1, git_revision="a", versions={"torch": "2.12"})
    written(seed=2, git_revision="b", versions={"torch": "2.13"})
    [column], notes = columns_of(collected(tmp_path / "logs")[0])
    assert len(column.runs) == 2
    assert notes == ["PongNoFrameskip-v4, dqn: runs of different git_revision, torch"]


@pytest.mark.parametrize(
    ("other", "label"),
    [
        ({"n_timesteps": 4000}, "dqn (budget 0.016M frames)"),
        ({"eval_protocol": PROTOCOL | {"episodes": 2, "epsilon": 0.01}}, "dqn (epsilon 0.01)"),
        ({"engine": {"precision": "bf16", "threads": 2}}, "dqn (precision bf16)"),
        ({"scores": [[1], [2]]}, "dqn (episodes 1)"),
        ({"evaluated": (500, 2000)}, "dqn (evaluated at 500, 2,000 steps)"),
        ({"values": {"learning_rate": 1e-3}}, "dqn (learning_rate 0.001)"),
        ({"values": {"double_q": True}}, "dqn (double_q true)"),
        ({"values": {"policy_kwargs": {"features_extractor_kwargs": {"features_dim": 9}}}}, None),
        ({"evaluated": (1000,), "scores": [[1, 3]]}, "dqn (evaluated every 1,000 steps to 1,000)"),
    ],
)
def test_what_makes_columns(written: Write, tmp_path: Path, other: dict, label: str | None) -> None:
    written(seed=1)
    written(**{"seed": 2, **other})
    found, notes = columns_of(collected(tmp_path / "logs")[0])
    assert [len(column.runs) for column in found] == [1, 1]
    assert label is None or found[1].label == label
    assert len({column.label for column in found}) == 2
    assert notes == []


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"n_timesteps": 4000}, "budget 0.008M frames and 0.016M frames"),
        ({"eval_protocol": PROTOCOL | {"episodes": 2, "epsilon": 0.01}}, "epsilon 0.05 and 0.01"),
        ({"evaluated": (500, 1500)}, "last evaluated after 8,000 and 6,000 frames"),
        ({"evaluated": (500, 2000)}, ""),
        ({"values": {"learning_rate": 1e-3}}, ""),
    ],
)
def test_why_columns_stand_apart(written: Write, tmp_path: Path, other: dict, reason: str) -> None:
    written(seed=1)
    written(**{"recipe": "double_dqn", "seed": 1, **other})
    x, y = columns(tmp_path, "dqn", "double_dqn")
    assert why_not(x, y) == reason


def test_many_differences_are_a_numbered_variant(written: Write, tmp_path: Path) -> None:
    values = {"learning_rate": 1e-3, "loss": "mse", "double_q": True, "gamma": 0.9, "tau": 0.5}
    written(seed=1)
    written(seed=2, values=values)
    assert [column.label for column in columns(tmp_path)] == ["dqn (variant 1)", "dqn (variant 2)"]


def test_what_a_recipe_does_not_set_is_shown_as_its_default(written: Write, tmp_path: Path) -> None:
    written(seed=1)
    written(recipe="double_dqn", seed=1, values={"double_q": True, "gamma": 0.99})
    runs, _ = collected(tmp_path / "logs", "dqn", "double_dqn")
    shown = differing(runs).T.to_dict("list")
    assert shown == {"double_q": ["false", "true"]}  # 0.99 is SB3's gamma


def test_another_mode_is_a_game_without_published_scores(written: Write, tmp_path: Path) -> None:
    written()
    written(values={"env_kwargs": {"mode": 1}})
    usual, other = compare(*from_logs(tmp_path / "logs", [find_game("Pong")], ["dqn"]))["games"]
    assert other["env_id"] == f"{usual['env_id']} mode 1"
    assert len(usual["levels"]) == 4
    assert other["levels"] == []
    assert usual["columns"][0]["human_normalised"] is not None
    assert other["columns"][0]["human_normalised"] is None


def test_a_recipe_whose_runs_are_all_left_out_says_why(written: Write, tmp_path: Path) -> None:
    written(state="interrupted")
    with pytest.raises(UserError, match=r"can be compared: .*interrupted, not finished"):
        collected(tmp_path / "logs")
    with pytest.raises(UserError, match=r"no run of PongNoFrameskip-v4 with rainbow .* make train"):
        collected(tmp_path / "logs", "rainbow")


def test_one_recipe_and_game_count_once(written: Write, tmp_path: Path) -> None:
    written()
    runs, left_out = collected(tmp_path / "logs", "dqn", "hyperparams/dqn.yml", "dqn")
    assert (len(runs), left_out) == (1, [])
    written(seed=2, game="ALE/Pong-v5")
    assert len(collected(tmp_path / "logs")[0]) == 1


def cpu(hours: float) -> dict[str, float]:
    return {"cpu_seconds": 3600 * (hours + 1), "evaluation_cpu_seconds": 3600.0}


def test_a_level_is_reached_at_the_first_evaluation_there(written: Write, tmp_path: Path) -> None:
    written(seed=1, scores=[[1, 1], [5, 5]], wall_clock_seconds=60.0, **cpu(1))
    written(seed=2, scores=[[5, 7], [0, 0]], wall_clock_seconds=80.0, **cpu(1.5))
    written(seed=3, scores=[[1, 1], [2, 2]], wall_clock_seconds=100.0, **cpu(2))
    [column] = columns(tmp_path)
    found = reached(column, Level("x", 5.0, ""))
    assert found["runs"] == 2
    assert found["median_frames"] == 8000  # of 4000, 8000 and never
    assert found["median_seconds"] == 60.0  # of half of 80, 60 and never
    assert reached(column, Level("x", 5.5, ""))["median_frames"] is None
    [shown] = compare(list(column.runs), [])["games"][0]["columns"]
    assert (shown["seconds"], shown["core_hours"]) == (80.0, 1.5)  # the median of 1, 1.5 and 2
    assert shown["machines"] == ["2 CPUs"]
