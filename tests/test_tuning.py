"""Studies: what is claimed, retried, counted and named the winner; trainings are doubles here."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy
import yaml
from optuna.trial import Trial, TrialState

from custom.jobs.task import Handle, Resources, Task
from custom.learner.engine import Engine
from custom.recipe.games import find_game
from custom.recipe.recipe import load_recipe
from custom.runs.folder import claim_folder
from custom.system.errors import UserError
from custom.system.files import write_json
from custom.tuning.best import keep_ranking, write_best
from custom.tuning.files import write_files
from custom.tuning.finalists import RECIPE, finalists, matrix_of, rank
from custom.tuning.plan import Plan
from custom.tuning.storage import RETRIES, address, shown
from custom.tuning.study import (
    TrialFailedError,
    begin,
    is_full,
    load,
    results,
    retry_killed,
    run_trial,
)
from scripts import options, tune
from tests.compared import PROTOCOL
from tests.conftest import SMALL

PONG = find_game("Pong")
OPTIMUM = 3e-4


def plan_of(**changed: Any) -> Plan:
    values = {**SMALL, "n_timesteps": 1000, "learning_rate": 1e-4, "batch_size": 32}
    known = {"env_id": PONG.env_id, "recipe": "small", "algo": "dqn", "hyperparams": values}
    return Plan(**{**known, "search": ("learning_rate",), "pruner": "none", **changed})


@pytest.fixture
def url(tmp_path: Path) -> str:
    return address("", tmp_path / "study.db")


def score(rate: float) -> float:
    """Best, 100, at `OPTIMUM`; the recipe's own 1e-4 is at 88.6."""
    return 100 - 50 * (math.log10(rate) - math.log10(OPTIMUM)) ** 2


def double(trial: Trial, place: int) -> float:
    """What a training would come to, with noise that its seed decides."""
    plan = plan_of()
    rate = plan.space.suggest(trial)["learning_rate"]
    noise = np.random.default_rng(plan.trial_seed(place)).normal(scale=2)
    return score(rate) + float(noise)


def search(
    url: str, plan: Plan, n_trials: int, train: Callable[[Trial, int], float]
) -> optuna.Study:
    study = begin(url, "s", plan)
    while not is_full(study.trials, n_trials):
        run_trial(study, url, n_trials, train)
    return study


def kill_a_trial(url: str, n_trials: int = 3) -> None:
    """A process that is killed in the middle of a trial, longer ago than the grace period."""

    def train(trial: Trial, place: int) -> float:
        plan_of().space.suggest(trial)
        wait_for_heartbeat(url)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    if (child := os.fork()) == 0:
        try:
            run_trial(load(url, "s"), url, n_trials, train)
        finally:
            os._exit(1)  # never reached where the trial began
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    silence(url)


def wait_for_heartbeat(url: str) -> None:
    """Until each running trial has one."""
    silent = (
        "SELECT COUNT(*) FROM trials WHERE state = 'RUNNING'"
        " AND trial_id NOT IN (SELECT trial_id FROM trial_heartbeats)"
    )
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        while connection.execute(sqlalchemy.text(silent)).scalar():
            connection.rollback()


def silence(url: str, number: int | None = None) -> None:
    """Put the last heartbeat of all trials, or of one, longer ago than the grace period."""
    one = (
        ""
        if number is None
        else f" WHERE trial_id IN (SELECT trial_id FROM trials WHERE number = {number})"
    )
    old = "UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00.000000'"
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(old + one))


def test_the_first_trial_is_the_recipe_and_no_more_are_made_than_asked_for(url: str) -> None:
    study = search(url, plan_of(), 5, double)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    assert study.trials[0].params == {"learning_rate": 1e-4}
    assert len({trial.params["learning_rate"] for trial in study.trials}) == 5
    assert len(search(url, plan_of(), 5, double).trials) == 5
    assert len(search(url, plan_of(), 6, double).trials) == 6


def test_the_same_seed_gives_the_same_trials_however_often_it_is_begun_anew(
    tmp_path: Path,
) -> None:
    def params(name: str, *numbers: int, seed: int = 0) -> list[dict[str, Any]]:
        own = address("", tmp_path / name)
        for n in numbers:
            study = search(own, plan_of(seed=seed), n, double)
        return [trial.params for trial in study.trials]

    once = params("a.db", 14)
    assert params("b.db", 14) == once
    assert params("c.db", 3, 9, 14) == once
    assert params("d.db", 14, seed=1)[1:] != once[1:]


def test_a_trial_of_a_killed_process_is_done_again_with_its_seed(url: str) -> None:
    begin(url, "s", plan_of())
    for _ in range(2):
        kill_a_trial(url)
    places: list[int] = []

    def train(trial: Trial, place: int) -> float:
        places.append(place)
        return double(trial, place)

    study = search(url, plan_of(), 3, train)
    states = [trial.state.name for trial in study.trials]
    assert sorted(states) == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL", "FAIL"]
    assert places == [0, 1, 2]
    assert [t.params for t in study.trials[:3]] == [{"learning_rate": 1e-4}] * 3


def test_a_trial_that_kills_its_process_each_time_is_replaced(url: str) -> None:
    begin(url, "s", plan_of())
    for _ in range(RETRIES + 1):
        kill_a_trial(url)
    study = search(url, plan_of(), 2, double)
    assert [trial.state for trial in study.trials[:3]] == [TrialState.FAIL] * 3
    assert len(results(study.trials)) == 2
    assert study.trials[-2].params != {"learning_rate": 1e-4}


def test_a_trial_that_was_killed_before_its_first_heartbeat_is_done_again(url: str) -> None:
    study = begin(url, "s", plan_of())
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.ask()
    study = search(url, plan_of(), 2, double)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].params == {"learning_rate": 1e-4}


def test_a_trial_that_lives_is_left_as_it_is(url: str) -> None:
    def train(trial: Trial, place: int) -> float:
        wait_for_heartbeat(url)
        other = load(url, "s")
        retry_killed(other)
        assert [t.state for t in other.trials] == [TrialState.RUNNING]
        return double(trial, place)

    assert len(search(url, plan_of(), 1, train).trials) == 1


def test_a_trial_that_was_silent_for_long_but_lives_counts_once(url: str) -> None:
    def train(trial: Trial, place: int) -> float:
        wait_for_heartbeat(url)
        silence(url)
        retry_killed(load(url, "s"))  # on another machine
        return double(trial, place)

    study = begin(url, "s", plan_of())
    with pytest.raises(ValueError, match="Cannot tell a FAIL trial"):
        run_trial(study, url, 1, train)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    assert len(results(search(url, plan_of(), 1, double).trials)) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError, ValueError, UserError])
def test_a_trial_that_was_stopped_is_done_again_however_often(
    url: str, error: type[BaseException]
) -> None:
    def stopped(trial: Trial, place: int) -> float:
        plan_of().space.suggest(trial)
        raise error("Ctrl-C, a full disk, a bug")

    for _ in range(RETRIES + 3):
        with pytest.raises(error):
            search(url, plan_of(), 1, stopped)
    study = search(url, plan_of(), 1, double)
    assert len(results(study.trials)) == 1
    assert study.trials[-1].params == {"learning_rate": 1e-4}


def test_the_trials_are_the_same_where_one_was_stopped_in_its_middle(tmp_path: Path) -> None:
    def params(name: str, stop_at: int | None) -> list[dict[str, Any]]:
        own = address("", tmp_path / name)
        left = [stop_at]

        def train(trial: Trial, place: int) -> float:
            value = double(trial, place)
            if place == left[0]:
                left[0] = None
                raise KeyboardInterrupt
            return value

        if stop_at is not None:
            with pytest.raises(KeyboardInterrupt):
                search(own, plan_of(), 14, train)
        return [trial.params for trial in results(search(own, plan_of(), 14, train).trials)]

    once = params("once.db", None)
    assert params("stopped.db", 12) == once


def test_a_trial_that_fails_for_a_reason_counts_and_is_not_repeated(url: str) -> None:
    def diverges(trial: Trial, place: int) -> float:
        raise TrialFailedError("the loss is not finite")

    study = search(url, plan_of(), 2, diverges)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2
    assert study.trials[0].user_attrs["reason"] == "the loss is not finite"


def test_a_study_of_somebody_else_is_left_alone(url: str) -> None:
    optuna.create_study(storage=url, study_name="s", direction="minimize")
    with pytest.raises(UserError, match="STUDY s: is not of make tune"):
        begin(url, "s", plan_of())


@pytest.mark.parametrize("text", ["postgresql://u:secret@h/d", "postgresql://h/d?password=secret"])
def test_no_password_is_shown(text: str) -> None:
    assert "secret" not in shown(address(text, Path()))


def test_ctrl_c_says_how_to_resume(
    tmp_path: Path,
    small_recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("custom.tuning.search.Search.run", interrupted)
    flags = [f"--recipe={small_recipe}", f"--logs={tmp_path}", "--steps=1000"]
    with pytest.raises(KeyboardInterrupt):
        tune.command(options.parser_of(tune).parse_args(flags))
    assert capsys.readouterr().out.endswith("the same command resumes the search\n")


def test_two_processes_share_a_study_without_a_trial_too_many(url: str) -> None:
    begin(url, "s", plan_of())
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=search, args=(url, plan_of(), 8, double)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    trials = load(url, "s").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 8
    assert len({str(trial.params) for trial in trials}) == 8


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 3}, "seed 0, now it is 3"),
        ({"objective": "area"}, "objective final, now it is area"),
        ({"search": ()}, "search "),
        ({"engine": Engine(precision="bf16")}, "precision float32, now it is bf16"),
        ({"hyperparams": {**SMALL, "n_timesteps": 7}}, "n_timesteps 1000, now it is 7"),
    ],
)
def test_another_plan_under_the_same_name_is_refused(
    url: str, changed: dict[str, Any], said: str
) -> None:
    begin(url, "s", plan_of())
    begin(url, "s", plan_of(largest_buffer=5))  # another machine
    with pytest.raises(UserError, match=f"STUDY s was begun with {said}.*STUDY="):
        begin(url, "s", plan_of(**changed))


def test_a_replay_that_does_not_fit_is_cut_by_the_study_alone() -> None:
    large, small = plan_of(largest_buffer=10**6), plan_of(largest_buffer=300)
    large.check_same(small, "s")
    assert (large.is_cut, small.is_cut) == (False, True)
    assert large.recipe_of("a", {}).hyperparams.buffer_size == 400
    assert small.recipe_of("a", {}).hyperparams.buffer_size == 300


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    plan = plan_of(search=("learning_rate", "batch_size"), seed=7)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mysql://a@b/c", "STORAGE: mysql is not known"),
        ("postgresql://a@b:port/c", "STORAGE: write postgresql://"),
        ("postgresql://a:p@ss@b/c", "%40 for @"),
        ("postgresql://a:p/ss@b/c", "%2F for /"),
        ("a?b.db", r"a path with \?"),
        ("a{b}.db", "a path with {"),
        ("/proc/version", "cannot be used"),
        ("/tmp", "cannot be used"),
        ("sqlite:////proc/nowhere/study.db", "cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_had_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        begin(address(text, tmp_path), "s", plan_of())


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "x.lock"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE users (name TEXT)")
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"is of another program \(a table users\)"):
        begin(address(str(file), Path()), "s", plan_of())
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]


def test_who_only_reads_makes_no_tables(tmp_path: Path) -> None:
    file = tmp_path / "empty.db"
    sqlite3.connect(file).close()
    with pytest.raises(UserError, match="holds no study"):
        load(address(str(file), Path()), "s")
    assert file.stat().st_size == 0


def test_a_file_that_is_no_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database, but long enough to be taken for one" * 50)
    with pytest.raises(UserError, match=r"STORAGE sqlite:.*cannot be used"):
        begin(address("", tmp_path / "study.db"), "s", plan_of())


class Doubles:
    """Writes the run folder that a training would leave."""

    def start(self, task: Task) -> Handle:
        flags = dict(re.findall(r"--([\w-]+)=(.*)", "\n".join(task.arguments)))
        recipe = load_recipe(flags["recipe"], PONG)
        seed, steps = int(flags["seed"]), int(flags["steps"])
        folder = claim_folder(Path(flags["logs"]) / recipe.name / "dqn", PONG.folder_name)
        (folder / "recipe.yml").write_text(recipe.to_yaml(PONG.env_id))
        end = score(recipe.hyperparams.learning_rate) + np.random.default_rng(seed).normal()
        every, games = int(flags["eval-freq"]), int(flags["eval-episodes"])
        times = list(range(every, steps + 1, every))
        results = np.full((len(times), games), end)
        np.savez(folder / "evaluations.npz", timesteps=times, results=results)
        facts = {"env_id": PONG.env_id, "recipe": recipe.name, "algo": "dqn", "seed": seed}
        facts |= {"frame_skip": 4, "n_timesteps": steps, "state": "finished", "eval_freq": every}
        facts |= {"engine": asdict(Engine(threads=int(flags["threads"])))}
        protocol = PROTOCOL | {"episodes": games}
        write_json(folder / "run.json", facts | {"eval_protocol": protocol, "steps": steps})
        return Ended()


class Ended:
    def status(self) -> int:
        return 0

    def stop(self) -> None:
        pass

    def end(self, seconds: float) -> None:
        pass


def test_the_search_the_fresh_seeds_and_the_report_name_the_true_winner(
    url: str, tmp_path: Path
) -> None:
    plan, folder = plan_of(), tmp_path / "study"
    study = search(url, plan, 30, double)
    found = finalists(study, plan, 2)
    assert found[0].name == RECIPE
    matrix = matrix_of(found, plan, folder, 5)
    assert matrix.train(Doubles(), 2) == []
    _, ranking = rank(found, plan, matrix)
    assert ranking[-1]["name"] == RECIPE
    assert [one["verdict"] for one in ranking] == ["better", "better", "the recipe itself"]
    keep_ranking(study, ranking)
    said = write_best(study, plan, tmp_path / "best.yml")
    assert "better than the recipe itself" in said
    winner = next(f for f in found if f.name == ranking[0]["name"])
    assert load_recipe(str(tmp_path / "best.yml"), PONG).hyperparams == winner.recipe.hyperparams
    rate = load_recipe(str(tmp_path / "best.yml"), PONG).hyperparams.learning_rate
    assert abs(math.log10(rate) - math.log10(OPTIMUM)) < 0.15
    assert score(rate) > score(1e-4) + 10


def test_other_threads_train_no_finalist_again_and_no_seed_counts_twice(
    url: str, tmp_path: Path
) -> None:
    plan = plan_of()
    study = search(url, plan, 10, double)
    found = finalists(study, plan, 1)
    matrices = [matrix_of(found, plan, tmp_path, 3, resources=Resources(n)) for n in (1, 2)]
    assert matrices[0].train(Doubles(), 2) == []
    runs = set(tmp_path.glob("finalists/*/dqn/*"))
    assert matrices[1].train(Doubles(), 2) == []
    assert set(tmp_path.glob("finalists/*/dqn/*")) == runs
    copy = sorted(runs)[0]
    shutil.copytree(copy, copy.with_name(f"{copy.name}9"))  # as machines apart may make them
    _, ranking = rank(found, plan, matrices[1])
    assert [one["seeds"] for one in ranking] == [3, 3]


def test_where_nothing_is_better_the_recipe_wins(url: str, tmp_path: Path) -> None:
    plan, folder = plan_of(), tmp_path / "study"
    study = search(url, plan, 3, lambda trial, place: 0.0 * double(trial, place))
    found = finalists(study, plan, 1)
    matrix = matrix_of(found, plan, folder, 2)
    matrix.train(Doubles(), 1)
    for file in folder.glob("finalists/*/dqn/*/evaluations.npz"):
        np.savez(file, timesteps=[200, 400, 600, 800, 1000], results=np.full((5, 10), -21.0))
    _, ranking = rank(found, plan, matrix)
    assert ranking[0]["name"] == RECIPE
    keep_ranking(study, ranking)
    said = write_best(study, plan, tmp_path / "best.yml")
    assert "Nothing better than the recipe was found" in said
    own = found[0].recipe.hyperparams
    assert load_recipe(str(tmp_path / "best.yml"), PONG).hyperparams == own
    study = search(url, plan, 4, lambda trial, place: 5.0 + 0.0 * double(trial, place))
    said = write_best(study, plan, tmp_path / "best.yml")
    assert said.startswith("Trial 3, 5.0 in the search, on one seed")  # the ranking is of three


def test_what_is_higher_but_not_surely_better_does_not_win(url: str, tmp_path: Path) -> None:
    plan, folder = plan_of(), tmp_path / "study"
    study = search(url, plan, 20, double)
    found = finalists(study, plan, 1)
    matrix = matrix_of(found, plan, folder, 2)
    matrix.train(Doubles(), 1)
    _, ranking = rank(found, plan, matrix)
    assert ranking[0]["trial"] is not None
    assert ranking[0]["verdict"].startswith("with 2 seeds each")
    keep_ranking(study, ranking)
    assert "Nothing better" in write_best(study, plan, tmp_path / "best.yml")


def test_the_files_of_a_study_hold_every_trial(url: str, tmp_path: Path) -> None:
    study = search(url, plan_of(), 4, double)
    write_files(study, tmp_path)
    trials = json.loads((tmp_path / "trials.json").read_text())
    assert [t["value"] for t in trials] == pytest.approx([t.value for t in study.trials])
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 5
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"history.html", "history.png", "timeline.png", "slices.html"} <= drawn
    page = (tmp_path / "plots" / "history.html").read_text()
    assert not re.search(r"<script[^>]+src=", page)
    assert not list(tmp_path.rglob("*.pkl"))


def test_tune_best_does_not_write_over_what_is_not_its_own(url: str, tmp_path: Path) -> None:
    study = search(url, plan_of(), 2, double)
    out = tmp_path / "mine.yml"
    out.write_text(yaml.safe_dump({"atari": {}}))
    with pytest.raises(UserError, match="exists already"):
        write_best(study, plan_of(), out)
    with pytest.raises(UserError, match=r"ends in \.yml"):
        write_best(study, plan_of(), tmp_path / "no_ending")
    with pytest.raises(UserError, match="cannot be written"):
        write_best(study, plan_of(), Path("/proc/best.yml"))
    empty = begin(url, "other", plan_of())
    with pytest.raises(UserError, match="no trial is complete yet"):
        write_best(empty, plan_of(), tmp_path / "new.yml")
    assert not (tmp_path / "new.yml").exists()
