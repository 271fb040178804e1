"""What the commands share: their flags, how they fail, and how they find a run."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch as th

from custom import signals
from custom.console import say
from custom.errors import UserError
from custom.evaluation import EPSILON
from custom.fanout.choose import CLUSTERS
from custom.recipe.games import Game, find_game
from custom.recipe.recipe import differences, read_recipe, recipe_name
from custom.runs import Run, latest_run, open_run

MOST = 10**12  # more than anybody asks for


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of this project."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        line = " ".join(message.split())
        self.exit(2, f"error: {line}; .venv/bin/python -m {self.prog} --help lists the flags\n")


def shared_parser(name: str, description: str | None, *flags: str) -> Parser:
    """A parser with some of the shared flags.

    :param name: module, e.g. ``scripts.train``
    :param flags: names of shared flags, e.g. ``game``
    """
    made = Parser(prog=name, description=description, allow_abbrev=False)
    made.add_argument("--logs", type=Path, default=Path("logs"), help="folder of all runs")
    for flag in flags:
        SHARED[flag](made)
    return made


def whole(low: int, high: int = MOST) -> Callable[[str], int]:
    """A type for `argparse`: a whole number in [low, high]; 1e6 and 1_000_000 are fine."""

    def read(text: str) -> int:
        try:
            value = float(text.replace("_", ""))
            if value == int(value) and low <= value <= high:
                return int(value)
        except (ValueError, OverflowError):
            pass
        limit = f"from {low} to {high}" if high < MOST else f"of at least {low}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limit}")

    return read


def share(text: str) -> float:
    """A type for `argparse`: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def switch(text: str) -> bool:
    """A type for `argparse`: 1 or 0, as make's variables have it."""
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"{text!r} is neither 1 nor 0")
    return known[text.lower()]


def add_switch(
    made: argparse._ActionsContainer, flag: str, explanation: str, default: bool = False
) -> None:
    """A flag that stands alone or has 1 or 0 behind it."""
    made.add_argument(
        flag, type=switch, nargs="?", const=True, default=default, metavar="1", help=explanation
    )


def add_study(made: Parser) -> None:
    """Flags of commands that are about a study."""
    made.add_argument(
        "--storage",
        default=os.environ.get("STORAGE", ""),  # a flag is seen by all who list processes
        help="a file, or postgresql://USER@HOST/DATABASE; default: $STORAGE, then a file in LOGS",
    )
    made.add_argument("--study", default="", help="name; default: RECIPE-ENVIRONMENT")


def study_of(args: argparse.Namespace) -> tuple[str, Path]:
    """The name of the study that a command is about, and its folder on this machine.

    :raises UserError: a name that is none
    """
    name = args.study or f"{recipe_name(args.recipe)}-{game_of(args).folder_name}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"STUDY {name!r}: use letters, digits, '-', '_' and '.'")
    return name, args.logs / "tune" / name


def add_fanout(made: Parser) -> None:
    """Flags of commands that train many agents."""
    group = made.add_argument_group("many at once", "docs/scale.md")
    add = group.add_argument
    add("--jobs", type=whole(1, 4096), default=1, help="trainings at once")
    add("--cluster", choices=CLUSTERS, default="auto", help="auto: Ray where RAY_ADDRESS is set")
    add("--cpus", type=whole(1, 1024), help="cores of each; default: those here, divided by jobs")
    add("--gpus", type=share, default=0.0, help="share of a GPU that each takes, on a cluster")
    add("--memory", type=positive, default=0.0, help="gigabytes that each takes, on a cluster")
    explanation = "0: what is broken off begins anew; 1: it goes on, for the room of its replay"
    add_switch(group, "--save-state", explanation, default=True)


def add_report(made: Parser) -> None:
    """The flag of commands that train."""
    made.add_argument(
        "--no-report", action="store_true", help="do not evaluate, film and plot at the end"
    )


def positive(text: str) -> float:
    """A type for `argparse`: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def device(text: str) -> str:
    """A type for `argparse`: a device that PyTorch has here."""
    if text == "auto":
        return text
    try:
        th.zeros(1, device=th.device(text)).cpu()
    except Exception:  # each kind of device has its own way to be absent
        raise argparse.ArgumentTypeError(
            f"{text!r} is no device that PyTorch {th.__version__} has here; use cpu or auto"
        ) from None
    return text


def _game(p: Parser) -> None:
    p.add_argument("--game", default="SpaceInvaders", help="name or environment id of the game")


def _recipe(p: Parser) -> None:
    p.add_argument("--recipe", default="dqn", help="name in hyperparams/, or path of a YAML file")


def _run(p: Parser) -> None:
    p.add_argument("--run", type=Path, help="run folder; default: the latest of game and recipe")


def _seed(p: Parser) -> None:
    p.add_argument("--seed", type=whole(0, 2**31 - 1), help="seed of all random numbers")


def _device(p: Parser) -> None:
    p.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda, cuda:1, mps")


def _episodes(p: Parser) -> None:
    p.add_argument("--episodes", type=whole(1), default=30, help="full games of an evaluation")


def _model(p: Parser) -> None:
    p.add_argument("--model", choices=["final", "best"], default="final", help="which agent")


def _epsilon(p: Parser) -> None:
    p.add_argument("--epsilon", type=share, default=EPSILON, help="share of random actions")


SHARED: dict[str, Callable[[Parser], None]] = {
    "game": _game,
    "recipe": _recipe,
    "run": _run,
    "seed": _seed,
    "device": _device,
    "episodes": _episodes,
    "model": _model,
    "epsilon": _epsilon,
}


def find_run(args: argparse.Namespace) -> Run:
    """The run that a command is about: RUN, or the latest of GAME and RECIPE.

    A recipe is its values: runs of the same name but other values come second, and are told.
    """
    if args.run is not None:
        return open_run(args.run)
    game, name = game_of(args), recipe_name(args.recipe)
    try:
        recipe = read_recipe(args.recipe, game)
    except UserError:
        if not (args.logs / name).is_dir():
            raise
        return latest_run(args.logs, name, game)  # its file is gone
    run, newer = latest_run(args.logs, name, game, recipe.digest), latest_run(args.logs, name, game)
    if run.path != newer.path or run.facts.get("recipe_digest", recipe.digest) != recipe.digest:
        other = newer if run.path != newer.path else run
        said = ", ".join(differences(recipe.hyperparams, other.hyperparams)) or "another budget"
        say(f"RUN={run.path}; not as {recipe.file}: {other.path} ({said})")
    return run


def game_of(args: argparse.Namespace) -> Game:
    """The game that a command is about."""
    return find_game(args.game)


def main(
    parser: Callable[[], Parser], command: Callable[[argparse.Namespace], int | None]
) -> NoReturn:
    """Parse and run a command; what the user can mend is one line and status 2.

    SIGTERM and a lost terminal raise as Ctrl-C does, so that nothing half-made is left.
    """
    signals.end_on_signals()
    status, problem = _outcome(parser, command)
    signals.ignore()
    gc.collect()  # the emulator complains of games that outlive the interpreter
    if problem:
        for line in problem.splitlines():  # with names from elsewhere, which could move a cursor
            words = " ".join(line.split())
            print("".join(c if c.isprintable() else "?" for c in words), file=sys.stderr)
    sys.exit(status)


def _outcome(
    parser: Callable[[], Parser], command: Callable[[argparse.Namespace], int | None]
) -> tuple[int, str]:
    """Exit status and what to say, without the frames in which it came about."""
    try:
        return command(parser().parse_args()) or 0, ""
    except UserError as error:
        return error.exit_status, f"error: {error}"
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        return 2, f"error: {error.filename or 'disk'}: {error.strerror}"
    except KeyboardInterrupt:
        return 130, "stopped"
