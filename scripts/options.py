"""What the commands share: their flags, how they end, and how they find a run.

A script is a docstring, `FLAGS`, and ``command(args)``. Nothing that is slow to import is imported
before the flags are read.
"""

import argparse
import gc
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from custom.evaluation import EPSILON
from custom.recipe.games import Game, find_game
from custom.recipe.model import DQNHyperparams
from custom.recipe.recipe import differences, load_recipe, recipe_name
from custom.runs.folder import AGENTS, Run, latest_run, open_run, open_runs
from custom.system import signals
from custom.system.console import make_streams_last, say
from custom.system.errors import UserError

if TYPE_CHECKING:  # slow to import
    from optuna import Study

MOST = 10**12  # more than anybody asks for
PRECISIONS = ("float32", "bf16")
CLUSTERS = ("auto", "none", "ray", "slurm")
Flag = str | tuple[str, dict[str, Any]]  # one of SHARED, or a flag of one command
Command = Callable[[argparse.Namespace], int | None]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of this project."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        line = " ".join(message.split())
        flag = re.match(r"unrecognized arguments: --?([\w-]+)", line)
        name = flag[1].replace("-", "_") if flag else ""
        if name in DQNHyperparams.model_fields:
            line += f"; it is of the recipe: write SET='{name}=...'"
        self.exit(2, f"error: {line}; {self.prog} --help lists the flags\n")


def number(low: float, high: float = MOST, kind: type[float] = float) -> Callable[[str], Any]:
    """A type for `argparse`: a number in [low, high]; 1e6 and 1_000_000 are fine."""
    what = "a whole number" if kind is int else "a number"
    limit = f"from {low} to {high}" if high < MOST else f"of at least {low}"

    def read(text: str) -> float:
        with suppress(ValueError, OverflowError):
            value = float(text.replace("_", ""))
            if value == kind(value) and low <= value <= high:
                return kind(value)
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} {limit}")

    return read


def whole(low: int, high: int = MOST) -> Callable[[str], Any]:
    """A type for `argparse`: a whole number in [low, high]."""
    return number(low, high, int)


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither 1 nor 0")
    return text == "1"


def switch(explanation: str) -> dict[str, Any]:
    """A flag that stands alone or has 1 or 0 behind it, as make's variables have it."""
    shown = {"metavar": "1", "help": explanation}
    return {"type": _switch, "nargs": "?", "const": True, "default": False, **shown}


SHARE, POSITIVE = number(0, 1), number(1e-6, 1e6)
SHARED: dict[str, dict[str, Any]] = {
    "game": {"default": "SpaceInvaders", "help": "name or environment id of the game"},
    "recipe": {"default": "dqn", "help": "name in hyperparams/, or path of a YAML file"},
    "set": {
        "nargs": "+",
        "default": [],
        "metavar": "KEY=VALUE",
        "help": "other values than the recipe's, e.g. gamma=0.9 policy_kwargs.dueling=true",
    },
    "run": {"type": Path, "help": "run folder; default: the latest of game and recipe"},
    "seed": {"type": whole(0, 2**31 - 1), "help": "seed of all random numbers"},
    "device": {"default": "auto", "help": "auto, cpu, cuda, cuda:1, mps"},
    "episodes": {"type": whole(1), "default": 30, "help": "full games of an evaluation"},
    "model": {"default": "final", "help": "final, best, or the name of a checkpoint's file"},
    "epsilon": {"type": SHARE, "default": EPSILON, "help": "share of random actions"},
    "steps": {"type": whole(1), "help": "budget of each run in steps; default: the recipe's"},
    "envs": {"type": whole(1, 1024), "help": "games at once; default: the recipe's"},
    "precision": {"choices": PRECISIONS, "default": "float32", "help": "of the network"},
    "eval-episodes": {"type": whole(1), "default": 10, "help": "games of each evaluation"},
    "no-report": {"action": "store_true", "help": "no evaluation, film and plot at the end"},
    "project": {"default": "", "help": "of W&B: entity/name; default: WANDB_PROJECT"},
    "storage": {  # from the environment: a flag is seen by all who list processes
        "default": os.environ.get("STORAGE", ""),
        "help": "a file, or postgresql://USER@HOST/DATABASE; default: $STORAGE, else in LOGS",
    },
    "study": {"default": "", "help": "name of the study; default: RECIPE-ENVIRONMENT"},
    "jobs": {"type": whole(1, 4096), "default": 1, "help": "trainings at once"},
    "cluster": {"choices": CLUSTERS, "default": "auto", "help": "auto: Ray if RAY_ADDRESS is set"},
    "cpus": {"type": whole(1, 1024), "help": "cores of each training; default: those here / jobs"},
    "gpus": {"type": SHARE, "default": 0.0, "help": "share of a GPU of each, on a cluster"},
    "memory": {"type": POSITIVE, "default": 0.0, "help": "gigabytes of each, on a cluster"},
}
OF_A_RUN = {"default": "", "help": "its recipe; default: any, and the run that began last"}
A_RUN: tuple[Flag, ...] = ("game", ("recipe", OF_A_RUN), "run")
STUDY: tuple[Flag, ...] = ("storage", "study")
FAN_OUT: tuple[Flag, ...] = ("jobs", "cluster", "cpus", "gpus", "memory")


def parser_of(script: Any, called: str = "") -> Parser:
    """The parser of a script's module: ``--logs`` and its `FLAGS`.

    :param called: what starts it; empty: Python
    """
    called = called or f".venv/bin/python -m {script.__spec__.name}"
    parser = Parser(prog=called, description=script.__doc__, allow_abbrev=False)
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="folder of all runs")
    for flag in script.FLAGS:
        key, settings = (flag, SHARED[flag]) if isinstance(flag, str) else flag
        default = settings.get("default")
        if default and "default" not in settings["help"]:
            settings = settings | {"help": f"{settings['help']}; default: {default}"}
        zoos = ("-params", "--hyperparams") if key == "set" else ()
        parser.add_argument(f"--{key}", *zoos, **settings)
    return parser


def study_of(args: argparse.Namespace) -> tuple[str, Path]:
    """The name of the study that a command is about, and its folder on this machine.

    :raises UserError: a name that is none
    """
    recipe = re.sub(r"[^\w.-]", "-", recipe_name(args.recipe))
    name = args.study or f"{recipe}-{find_game(args.game).folder_name}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"STUDY {name!r}: use letters, digits, '-', '_' and '.'")
    return name, args.logs / "tune" / name


def load_study(args: argparse.Namespace) -> tuple["Study", str]:
    """The study that a command is about, and the address of its storage.

    :raises UserError: there is none
    """
    name, folder = study_of(args)
    from custom.tuning.storage import address
    from custom.tuning.study import load

    url = address(args.storage, folder / "study.db")
    return load(url, name), url


def check_device(text: str) -> str:
    """A device that PyTorch has here.

    :raises UserError: it has not
    """
    import torch as th

    try:
        if text != "auto":
            th.zeros(1, device=th.device(text)).cpu()
    except Exception:  # each kind of device has its own way to be absent
        raise UserError(
            f"DEVICE {text!r} is not a device that PyTorch {th.__version__} has here; use cpu or"
            " auto"
        ) from None
    return text


def find_run(args: argparse.Namespace, or_agent: bool = False) -> Run:
    """The run that a command is about: RUN, or the latest of GAME and RECIPE, or of GAME.

    A recipe is its values: runs of the same name but other values come second, and are told.

    :param or_agent: without a run of the game, the agent that comes with the project is brought in
    """
    if args.run is not None:
        return open_run(args.run)
    game, name, recipe = find_game(args.game), "", None
    if args.recipe:
        name = recipe_name(args.recipe)
        try:
            recipe = load_recipe(args.recipe, game, classes=False)
        except UserError:
            if not (args.logs / name).is_dir():
                raise
    elif or_agent and (AGENTS / game.name).is_dir() and not open_runs(args.logs, game.env_id)[0]:
        from custom.hub.foreign import agent_of_the_checkout, bring_in

        if agent := agent_of_the_checkout(game):
            say(f"no run of {game.env_id} in {args.logs}: takes the project's own agent")
            bring_in(agent, args.logs)
    run = newest = latest_run(args.logs, game, name)
    if recipe and newest.facts.get("recipe_digest") != recipe.digest:
        run = latest_run(args.logs, game, name, recipe.digest)
    say(f"takes {run.path}")
    if recipe and newest.facts.get("recipe_digest", recipe.digest) != recipe.digest:
        values = differences(recipe.hyperparams, newest.hyperparams)
        say(f"{newest.path} has other values than {recipe.file}: {values}")
    return run


def games_named(*texts: str) -> list[Game]:
    """Each game of some lists of names, once."""
    games = [find_game(name) for text in texts for name in text.split()]
    return list({game.env_id: game for game in games}.values())


def main(command: Command, called: str = "", words: Sequence[str] | None = None) -> NoReturn:
    """Parse and run the command of a script; what the user can mend is a line each.

    SIGTERM and a lost terminal raise as Ctrl-C does, so that nothing half-made is left.

    :param called: what started it; empty: Python
    :param words: its flags; None: those of the process
    """
    make_streams_last()
    signals.end_on_signals()
    status, problem = run(parser_of(sys.modules[command.__module__], called), command, words)
    signals.ignore()
    sys.stdout.flush()
    if lost := getattr(sys.stdout, "problem", ""):
        status, problem = status or 2, problem or f"error: standard output: {lost}"
    gc.collect()  # the emulator complains of games that outlive the interpreter
    for line in problem.splitlines():  # with names from elsewhere, which could move a cursor
        said = " ".join(line.split())
        print("".join(c if c.isprintable() else "?" for c in said), file=sys.stderr)
    sys.exit(status)


def apply_changes(args: argparse.Namespace) -> None:
    """Put what --set says behind the names of the recipes.

    :raises UserError: a word is not ``key=value``
    """
    changes, words = "", " ".join(getattr(args, "set", [])).strip()
    for word in re.split(r"\s+(?=[\w.]+[=:])", words) if words else ():
        word = re.sub(r"(?<=[,\[])\s+|\s+(?=\])", "", word)  # in a list
        match = re.fullmatch(r"([A-Za-z_][\w.]*)[=:]([^{\s]+)", word)
        if not match:
            raise UserError(
                f"SET {word!r}: write key=value, with dots instead of braces, e.g."
                " SET='gamma=0.9 policy_kwargs.dueling=true'"
            )
        changes += f"+{match[1]}={match[2]}"
    if changes and hasattr(args, "recipes"):
        args.recipes = " ".join(recipe + changes for recipe in args.recipes.split())
    elif changes:
        args.recipe += changes


def run(parser: Parser, command: Command, words: Sequence[str] | None) -> tuple[int, str]:
    """Exit status and what to say, without the frames in which it came about."""
    try:
        args = parser.parse_args(words)
        apply_changes(args)
        return command(args) or 0, ""
    except UserError as error:
        return error.exit_status, f"error: {error}"
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return 2, f"error: {place}{error.strerror or error}"
    except KeyboardInterrupt:
        return 130, "stopped"
