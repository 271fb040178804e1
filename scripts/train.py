"""`make train`: train an agent on a game, then evaluate, film and plot it."""

from __future__ import annotations

import argparse
import secrets

import torch as th

from custom.console import say
from custom.engine import BUFFERS, PRECISIONS, STORAGES, UPDATES, Engine
from custom.envs import processes_of
from custom.errors import UserError
from custom.evaluation import EPSILON
from custom.recipe.recipe import Recipe, load_recipe
from custom.tracking.wish import CHOICES, tracking
from custom.training.prepare import prepare
from custom.training.settings import Settings
from custom.training.train import train
from scripts import options


def command(args: argparse.Namespace) -> int:
    """Check, train, report."""
    game = options.game_of(args)
    recipe = load_recipe(args.recipe, game).with_budget(args.steps)
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    settings = Settings(
        seed=seed,
        logs=args.logs,
        device=args.device,
        eval_freq=args.eval_freq,
        eval_episodes=args.eval_episodes,
        eval_epsilon=args.eval_epsilon,
        save_freq=args.save_freq,
        keep_checkpoints=args.keep_checkpoints,
        save_state=args.save_state,
        engine=engine_of(args),
        tracking=tracking(args.track, args.track_videos, args.track_model, args.project),
    )
    training = prepare(recipe, game, settings)
    model = training.model
    say(game.explain())
    say(describe(training.recipe, seed, str(model.device)))
    say(f"games at once: {model.n_envs}, processes that play them: {processes_of(model.env)}")
    return train(training, report_episodes=0 if args.no_report else args.episodes)


def engine_of(args: argparse.Namespace) -> Engine:
    """The engine that the flags ask for.

    :raises UserError: two of them do not go together
    """
    for idle, message in (
        (args.storage != "auto" and args.buffer != "frames", "--storage needs BUFFER=frames"),
        (args.update == "sb3" and args.precision != "float32", "--update sb3 is of float32"),
        (args.precision == "tf32" and not th.cuda.is_available(), "--precision tf32 needs a GPU"),
    ):
        if idle:
            raise UserError(message)
    return Engine(
        buffer=args.buffer,
        storage=args.storage,
        update=args.update,
        precision=args.precision,
        n_envs=args.envs or 0,
        workers=args.workers,
        threads=args.threads,
    )


def describe(recipe: Recipe, seed: int, device: str) -> str:
    """What is going to run, in a few lines."""
    values, ends = recipe.hyperparams, recipe.exploration_steps
    first, last = values.exploration_initial_eps, values.exploration_final_eps
    falls = f"epsilon falls from {first:g} to {last:g} in the first {ends:,} steps"
    lines = [
        f"{recipe.file}: {recipe.algo}, {recipe.n_timesteps:,} steps, seed {seed}, on {device}",
        f"learning begins after {values.learning_starts:,} steps; "
        + (falls if ends else f"epsilon is {last:g} for the whole run"),
        *recipe.notes,
    ]
    if 0 < ends <= values.learning_starts:
        lines.append("note: epsilon has fallen before learning begins; the recipe says so")
    return "\n".join(lines)


def parser() -> options.Parser:
    """Flags of the command."""
    flags = ("game", "recipe", "seed", "device", "episodes")
    made = options.shared_parser("scripts.train", __doc__, *flags)
    count, several = options.whole(0), options.whole(1)
    made.add_argument("--steps", type=several, help="budget in steps; default: the recipe's")
    made.add_argument("--eval-freq", type=count, default=0, help="steps between evaluations")
    made.add_argument("--eval-episodes", type=several, default=10, help="games of each of them")
    made.add_argument("--eval-epsilon", type=options.share, default=EPSILON, help="their epsilon")
    made.add_argument("--save-freq", type=count, default=0, help="steps between checkpoints")
    made.add_argument("--keep-checkpoints", type=several, default=3, help="how many stay")
    explanation = "with each checkpoint, for make resume; it takes the room of the replay"
    options.add_switch(made, "--save-state", explanation)
    _engine(made)
    _tracking(made)
    options.add_report(made)
    return made


def _engine(made: options.Parser) -> None:
    group = made.add_argument_group("engine", "how fast it is computed: docs/performance.md")
    add = group.add_argument
    add("--buffer", choices=BUFFERS, default="frames", help="replay of single frames, or SB3's")
    add(
        "--envs",
        type=options.whole(1, 1024),
        help="games at once, at the recipe's updates per step",
    )
    add("--storage", choices=STORAGES, default="auto", help="where frames lie")
    add("--update", choices=UPDATES, default="fast", help="sb3: its arithmetic bit for bit")
    add("--precision", choices=PRECISIONS, default="float32", help="of the network")
    add(
        "--workers",
        type=options.whole(0, 1024),
        default=0,
        help="processes that play in training; default: as many as threads, from 4 games on",
    )
    add(
        "--threads",
        type=options.whole(0, 256),
        default=0,
        help="of PyTorch on the CPU; 0: its own choice",
    )


def _tracking(made: options.Parser) -> None:
    group = made.add_argument_group("tracking", "Weights & Biases; nothing of it stops a training")
    group.add_argument(
        "--track", choices=CHOICES, default="off", help="live, or offline until make sync"
    )
    group.add_argument("--project", default="", help="entity/name; default: WANDB_PROJECT")
    options.add_switch(group, "--track-videos", "a film of a game after each evaluation")
    options.add_switch(group, "--track-model", "the agent at the end, as an artifact")


if __name__ == "__main__":
    options.main(parser, command)
