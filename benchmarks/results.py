"""The trainings of docs/results.md: trained, exported, drawn.

    python -m benchmarks.results train --logs LOGS    # the queue, resuming what was stopped
    python -m benchmarks.results export --logs LOGS   # what is finished, into results/runs/
    python -m benchmarks.results draw                 # tables and pictures, from these files alone
    python -m benchmarks.results publish RUN          # its agent into agents/

Trainings run one after another, on one thread, at the lowest priority.
"""

import argparse
import json
import shutil
import subprocess
import sys
from itertools import groupby
from operator import itemgetter as by
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from scipy.stats import sem, t

from custom.evaluation.results import EVALUATION_FILE
from custom.evaluation.scores import reference
from custom.hub.publish import agent_name, build, said_of
from custom.recipe.games import find_game
from custom.runs.folder import AGENTS, Run, open_run
from custom.runs.listing import can_resume
from custom.runs.metrics import core_hours, evaluations, finished_games
from custom.system.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
QUEUE = ROOT / "benchmarks" / "queue.yml"
RUNS = ROOT / "benchmarks" / "results" / "runs"
DOPAMINE = ROOT / "benchmarks" / "results" / "dopamine.yml"
BASELINES = ROOT / "benchmarks" / "results" / "baselines"  # of make baselines
PAGE, IMAGES = ROOT / "docs" / "results.md", ROOT / "docs" / "images"
BEGIN, END = "<!-- drawn by benchmarks.results -->\n", "<!-- end -->\n"
EPISODES, LAST_EPISODES = 30, 100
LEFT_OUT = f"not finished, or its last agent is not scored over {LAST_EPISODES} games"
SMOOTH = 100  # games of a running mean


def train(logs: Path) -> None:
    """Train what is not finished, in the order of the queue."""
    for entry in yaml.safe_load(QUEUE.read_text()):
        name = "-".join(str(value) for value in entry.values())
        runs = [open_run(file.parent) for file in sorted((logs / name).glob("*/*/*/run.json"))]
        if any(last_scores(run) for run in runs):
            continue
        resumable = [run for run in runs if can_resume(run)]
        if finished := [run for run in runs if run.facts["state"] == "finished"]:
            flags = ["scripts.evaluate", "--run", str(finished[-1].path)]
        elif resumable:
            flags = ["scripts.resume", "--run", str(resumable[-1].path)]
        else:
            flags = ["scripts.train", "--logs", str(logs / name), "--threads", "1", "--envs", "8"]
            flags += [f"--{key}={value}" for key, value in entry.items()]
            flags += ["--eval-episodes", str(EPISODES)]
        print(f"{name}: {' '.join(flags)}", flush=True)
        _run([*flags, "--episodes", str(LAST_EPISODES)])


def _run(arguments: list[str]) -> None:
    process = subprocess.Popen(["nice", "-n", "19", sys.executable, "-m", *arguments], cwd=ROOT)
    try:
        status = process.wait()
    except KeyboardInterrupt:  # the training has it, too, and saves its state
        process.wait()
        raise
    if status:
        sys.exit(status)


def export(run: Run) -> Path | None:
    """What the page needs of a run, as a small file; None: it is not finished or not evaluated."""
    final = last_scores(run)
    if not final:
        return None
    evaluated, games = evaluations(run) or {}, finished_games(run)
    names = ("game", "env_id", "recipe", "seed", "steps", "frame_skip", "git_revision", "hardware")
    times = ("wall_clock_seconds", "cpu_seconds", "evaluation_cpu_seconds")
    content = {
        **{name: run.facts.get(name) for name in (*names, *times)},
        "evaluations": {name: values.tolist() for name, values in evaluated.items()},
        "games": {name: games[name].astype(int).tolist() for name in ("steps", "score")},
        "final": final,
    }
    file = RUNS / f"{content['recipe']}-{content['game']}-{content['steps']}-{content['seed']}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    return file


def last_scores(run: Run) -> dict[str, Any]:
    """The scores of a finished run's last agent over 100 games; empty: it has none."""
    said = said_of(run.final_model, run.path / EVALUATION_FILE)
    complete = run.facts["state"] == "finished" and said.get("episodes") == LAST_EPISODES
    return said if complete else {}


def publish(folder: Path) -> Path:
    """The agent of a run that was evaluated and filmed, as `make push` has it, for a clone.

    :raises UserError: there is no such run, or it is not finished or not evaluated
    """
    run = open_run(folder)
    if not last_scores(run):
        raise UserError(f"{folder}: {LEFT_OUT}")
    pushed, target = build(run, run.final_model, "you/agent"), AGENTS / run.game.name
    target.mkdir(parents=True, exist_ok=True)
    for name in (agent_name(run), "recipe.yml", EVALUATION_FILE):
        shutil.copyfile(pushed / name, target / name)
    return target


def runs() -> list[dict[str, Any]]:
    """All exported runs, by game, budget and recipe."""
    found = [json.loads(file.read_text()) for file in sorted(RUNS.glob("*.json"))]
    return sorted(found, key=by("game", "steps", "recipe", "seed"))


def table(found: list[dict[str, Any]]) -> str:
    """The runs as a table in Markdown."""
    head = ["game", "recipe", "seed", "steps", "frames", "core-hours", "score of 100 games"]
    head += ["95 % of the mean", "mean - std", "random", "best single action", "human", "revision"]
    rows = []
    for run in found:
        final, (low, high) = run["final"], run["final"]["mean_95"]
        human = reference(find_game(run["env_id"]).rom)["human"]
        cells = [run["game"], f"`{run['recipe']}`", run["seed"], f"{run['steps']:,}"]
        cells += [f"{run['steps'] * run['frame_skip'] / 1e6:.2f}M", f"{core_hours(run) or 0:.2f}"]
        cells += [f"{final['mean']:.1f} ± {final['std']:.1f}", f"{low:.1f} to {high:.1f}"]
        cells += [f"{final['mean_minus_std']:.1f}", *baselines(run), human]
        rows.append([*cells, str(run["git_revision"])[:7]])
    return markdown(head, rows)


def baselines(run: dict[str, Any]) -> tuple[str, str]:
    """Scores of random play and of the best single action, with the wrapper of a run's recipe."""
    wrapper = "dqn-rmsprop" if run["recipe"].startswith("dqn-rmsprop") else "dqn"
    content = json.loads((BASELINES / f"{wrapper}-{run['env_id']}.json").read_text())
    best, results = content["best_action"], content["results"]
    return f"{results['random']['mean']:.1f}", f"{results[best]['mean']:.1f} ({best})"


def seeds_table(found: list[dict[str, Any]]) -> str:
    """A line for each recipe and budget, over its seeds, as a table in Markdown."""
    head = ["game", "recipe", "steps", "core-hours", "score of each seed"]
    head += ["mean", "95 % of the mean"]
    rows = []
    for (game, steps, recipe), same in groupby(found, by("game", "steps", "recipe")):
        runs = list(same)
        scores = np.array([run["final"]["mean"] for run in runs])
        hours = np.mean([core_hours(run) or np.nan for run in runs])
        cells = [game, f"`{recipe}`", f"{steps:,}", f"{hours:.2f}"]
        cells += [", ".join(f"{score:.1f}" for score in scores), f"{scores.mean():.1f}"]
        interval = "-"  # two seeds say next to nothing of a third
        if len(scores) > 2:
            low, high = t.interval(0.95, len(scores) - 1, scores.mean(), sem(scores))
            interval = f"{low:.1f} to {high:.1f}"
        rows.append([*cells, interval])
    return markdown(head, rows)


def beside_dopamine(found: list[dict[str, Any]]) -> str:
    """Training games of the last million frames, and Dopamine's at as many, as a table."""
    published = yaml.safe_load(DOPAMINE.read_text())
    rows = []
    for game, at in published["games"].items():
        for millions, scores in at.items():
            here = []
            for run in found:
                frames = run["frame_skip"] * np.array(run["games"]["steps"])
                total = run["frame_skip"] * run["steps"]
                if run["game"] == game and total // 10**6 == millions:
                    last = np.array(run["games"]["score"])[frames > total - 10**6]
                    here.append(f"`{run['recipe']}` {last.mean():.1f}")
            rows.append([game, f"{millions}M", *scores, ", ".join(here) or "-"])
    return markdown(["game", "frames", *published["columns"], "here"], rows)


def not_finished(found: list[dict[str, Any]]) -> str:
    """The lines of the queue that have no figures yet."""
    identity = by("game", "recipe", "steps", "seed")
    done = {identity(run) for run in found}
    left = [entry for entry in yaml.safe_load(QUEUE.read_text()) if identity(entry) not in done]
    return ", ".join(f"`{run['recipe']}` on {run['game']} (seed {run['seed']})" for run in left)


def markdown(head: list[str], rows: list[list[Any]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def curves(title: str, found: list[dict[str, Any]], recipes: list[str]) -> Figure:
    """Training games and evaluations of runs against frames.

    A seed has its own line style.

    :param recipes: of all pictures: each has its own colour, the same in all of them
    """
    figure = Figure(figsize=(11, 4.5), dpi=110, layout="constrained")
    games, evaluated = figure.subplots(1, 2, sharex=True, sharey=True)
    for run in found:
        million = run["frame_skip"] / 1e6
        label = f"{run['recipe']}, {run['steps'] / 1e6:g}M steps, seed {run['seed']}"
        dash = ("-", "--", ":")[run["seed"] % 3 - 1]
        style = {"color": f"C{recipes.index(run['recipe'])}", "ls": dash, "label": label}
        smooth = pd.Series(run["games"]["score"]).rolling(SMOOTH).mean()
        games.plot(np.array(run["games"]["steps"]) * million, smooth, lw=1, **style)
        means = np.array(run["evaluations"]["results"]).mean(axis=1)
        frames = np.array(run["evaluations"]["timesteps"]) * million
        evaluated.plot(frames, means, marker="o", ms=3, lw=1, **style)
    games.set_title(f"{title}: training games, mean of {SMOOTH}")
    evaluated.set_title(f"{title}: evaluations of {EPISODES} games")
    games.set_ylabel("raw score of a full game")
    handles, labels = games.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small")
    if any("+" in run["recipe"] for run in found):  # short trials beside long runs
        games.set_xlim(0, 2 * min(run["steps"] for run in found) * million)
    for axes in (games, evaluated):
        axes.set_xlabel("frames (million)")
        axes.grid(alpha=0.25)
    return figure


def draw(page: Path = PAGE, images: Path = IMAGES) -> None:
    """Draw the tables and the curves of the page anew."""
    found = runs()
    recipes = [run for run in found if "+" not in run["recipe"]]
    variants = [run for run in found if "+" in run["recipe"]]
    names = list(dict.fromkeys(run["recipe"] for run in found))
    parts = [seeds_table(recipes), "\nEach run by itself:\n\n", table(recipes)]
    for title, of_picture in pictures(recipes, variants).items():
        file = images / f"results-{title.replace(' ', '-')}.png"
        curves(title, of_picture, names).savefig(file, metadata={"Software": None})
        parts.append(f"\n![Learning curves of {title}](images/{file.name})\n")
    parts += ["\nRecipes with other values:\n\n", seeds_table(variants)] if variants else []
    parts.append("\nTraining games of the last million frames, beside Dopamine's:\n\n")
    parts.append(beside_dopamine(recipes))
    if left := not_finished(found):
        parts.append(f"\nNot trained yet: {left}.\n")
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    page.write_text(before + BEGIN + "\n" + "".join(parts) + "\n" + END + after)


def pictures(
    recipes: list[dict[str, Any]], variants: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """The runs of each picture: a game, RMSProp beside Adam, a recipe with other values."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for run in recipes:
        is_rmsprop = run["recipe"].startswith("dqn-rmsprop")
        if not is_rmsprop:
            shown.setdefault(run["game"], []).append(run)
        if is_rmsprop or (run["game"], run["recipe"]) == ("SpaceInvaders", "dqn"):
            shown.setdefault(f"{run['game']} RMSProp", []).append(run)
    for run in variants:
        game, recipe = run["game"], run["recipe"].split("+")[0]
        unchanged = [other for other in recipes if by("game", "recipe")(other) == (game, recipe)]
        shown.setdefault(f"{game} {recipe}", unchanged).append(run)
    return dict(sorted(shown.items()))


def main() -> None:
    """One of the four."""
    flags = argparse.ArgumentParser(prog="benchmarks.results", description=__doc__)
    commands = flags.add_subparsers(dest="command", required=True)
    for name in ("train", "export"):
        commands.add_parser(name).add_argument("--logs", type=Path, default=Path("logs/results"))
    commands.add_parser("draw")
    commands.add_parser("publish").add_argument("run", type=Path)
    args = flags.parse_args()
    try:
        if args.command == "train":
            train(args.logs.resolve())
        elif args.command == "export":
            files = sorted(args.logs.rglob("run.json"))
            if not files:
                raise UserError(f"{args.logs}: there is no run in it")
            for file in files:
                print(f"{file.parent}: {export(open_run(file.parent)) or LEFT_OUT}")
        elif args.command == "publish":
            print(publish(args.run))
        else:
            draw()
    except UserError as error:
        flags.error(str(error))


if __name__ == "__main__":
    main()
