"""`make train`: train an agent on a game, then evaluate, film and plot it."""

import argparse
import secrets
from dataclasses import replace
from pathlib import Path

from custom.recipe.games import Game, find_game
from custom.recipe.recipe import Recipe, load_recipe, recipe_name, split_changes
from custom.runs.folder import Run, open_run
from custom.system.console import say
from custom.system.errors import UserError
from custom.tracking.wish import CHOICES, tracking
from scripts import options
from scripts.options import POSITIVE, switch, whole

EVAL_FREQ = (
    "steps between evaluations; -1: none; default: a twentieth of the budget, 10,000 to 250,000"
)
FLAGS = (
    ("game", options.SHARED["game"] | {"default": None}),
    ("recipe", options.SHARED["recipe"] | {"default": ""}),
    ("from", {"type": Path, "dest": "parent", "help": "run folder whose agent is trained further"}),
    ("hours", {"type": POSITIVE, "help": "budget instead of --steps, without evaluations"}),
    *("set", "steps", "seed", "device", "episodes", "no-report", "eval-episodes"),
    ("eval-freq", {"type": whole(-1), "default": 0, "help": EVAL_FREQ}),
    ("save-freq", {"type": whole(0), "default": 0, "help": "of checkpoints; default: eval-freq"}),
    ("save-state", switch("keep what make resume needs; default: 1") | {"default": True}),
    ("dry-run", switch("say what it would do and take, and end")),
    # How fast it is computed: docs/performance.md.
    *("envs", "precision"),
    ("buffer", {"choices": ("frames", "sb3"), "default": "frames", "help": "replay"}),
    ("update", {"choices": ("fast", "sb3"), "default": "fast", "help": "sb3: bit for bit"}),
    ("workers", {"type": whole(0, 1024), "default": 0, "help": "processes that play; 0: auto"}),
    ("threads", {"type": whole(0, 256), "default": 0, "help": "of PyTorch on the CPU; 0: auto"}),
    # Weights & Biases.
    "project",
    ("track", {"choices": CHOICES, "default": "off", "help": "live, or offline until make sync"}),
)


def command(args: argparse.Namespace) -> int:
    """Check, train, report."""
    parent = open_run(args.parent, "FROM") if args.parent else None
    game, recipe = game_and_recipe(args, parent)
    track = tracking(args.track, args.project)
    if args.hours and args.steps:
        raise UserError("HOURS and STEPS are both budgets; give one")
    if args.update == "sb3" and args.precision != "float32":
        raise UserError("--update sb3 is of float32")
    device = options.check_device(args.device)
    from custom.learner.engine import Engine
    from custom.replay.memory import step_bytes
    from custom.training.further import further
    from custom.training.prepare import prepare
    from custom.training.settings import Settings
    from custom.training.speed import extent, measure, plan
    from custom.training.train import train

    engine = Engine(
        buffer=args.buffer,
        update=args.update,
        precision=args.precision,
        n_envs=args.envs or 0,
        workers=args.workers,
        threads=args.threads,
    )
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    settings = Settings(
        seed=seed,
        logs=args.logs,
        device=device,
        eval_freq=args.eval_freq,
        eval_episodes=args.eval_episodes,
        save_freq=args.save_freq,
        save_state=args.save_state,
        engine=engine,
        tracking=track,
    )
    steps = args.steps
    if args.hours or args.dry_run:
        speed = measure(recipe, game, settings)
    if args.hours:
        steps = speed.steps_in(3600 * args.hours, recipe.hyperparams.learning_starts)
        say(f"HOURS={args.hours:g}: {steps:,} steps, by {speed}")
    recipe, origin = recipe.with_budget(steps), None
    if parent:
        origin, recipe = further(parent, recipe, game, engine)
    if args.dry_run:
        say(plan(recipe, game, settings, speed, origin))
        return 0
    training = prepare(recipe, game, settings, origin)
    model = training.model
    own = recipe.hyperparams.env_kwargs.given
    say(f"{game.env_id} with {own}: not the published game" if own else game.explain())
    say(describe(training.recipe, seed, str(model.device)))
    each = step_bytes(model.observation_space, training.recipe.hyperparams, args.buffer == "frames")
    say(extent(training.recipe, settings, model.buffer_size, each))
    return train(training, report_episodes=0 if args.no_report else args.episodes)


def game_and_recipe(args: argparse.Namespace, parent: Run | None) -> tuple[Game, Recipe]:
    """Those that are named; else those of the run that is trained further, or the defaults."""
    base, changes = split_changes(args.recipe)
    if parent is None:
        game = find_game(options.SHARED["game"]["default"] if args.game is None else args.game)
        return game, load_recipe(f"{base or options.SHARED['recipe']['default']}{changes}", game)
    game = parent.game if args.game is None else find_game(args.game)
    if base:
        return game, load_recipe(args.recipe, game)
    own = load_recipe(f"{parent.recipe.file}{changes}", parent.game)
    asked = parent.facts.get("parent", {}).get("asked", {})  # before it was trained further itself
    values = own.hyperparams.replace(**{k: v for k, v in asked.items() if f"+{k}=" not in changes})
    return game, replace(
        own, hyperparams=values, name=recipe_name(f"{parent.recipe.name}.yml{changes}")
    )


def describe(recipe: Recipe, seed: int, device: str) -> str:
    """What is going to run, in a few lines."""
    values, ends = recipe.hyperparams, recipe.exploration_steps
    first, last = values.exploration_initial_eps, values.exploration_final_eps
    ends = min(ends, recipe.n_timesteps)
    falls = f"epsilon goes from {first:g} to {last:g} in the first {ends:,} steps"
    lines = [
        f"{recipe.file}: {recipe.algo}, {recipe.n_timesteps:,} steps, seed {seed}, on {device}",
        f"learning begins after {values.learning_starts:,} steps; "
        + (falls if ends else f"epsilon is {last:g} for the whole run"),
        *recipe.notes,
    ]
    if 0 < ends <= values.learning_starts:
        lines.append("note: epsilon has fallen before learning begins; the recipe says so")
    return "\n".join(lines)


if __name__ == "__main__":
    options.main(command)
