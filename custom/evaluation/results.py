"""The score of a run: measured by the protocol, kept in ``evaluation.json``, shown in a table."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custom.evaluation.baselines import baselines_of, levels_of
from custom.evaluation.protocol import Protocol, interval_text
from custom.evaluation.scores import Level, human_normalised
from custom.runs.agents import load_agent
from custom.runs.folder import Run
from custom.system.console import say
from custom.system.errors import UserError
from custom.system.files import write_json
from custom.system.manifest import checksum

EVALUATION_FILE = "evaluation.json"
LINE_EVERY = 15.0  # seconds


def evaluate_run(run: Run, protocol: Protocol, file: Path, device: str = "auto") -> dict[str, Any]:
    """Evaluate an agent of a run and write ``evaluation.json`` into its folder.

    :return: its content
    :raises UserError: the agent is damaged, or the folder cannot be written
    """
    sha256 = checksum(file)  # before the games: a training may replace the file
    model = load_agent(run, file, device)
    game, hyperparams = run.game, run.hyperparams
    scores = protocol.play(model, game, hyperparams, tell=_progress(protocol.episodes))
    plain = not hyperparams.env_kwargs.variant
    result = {
        "game": game.name,
        "env_id": game.env_id,
        "recipe": run.facts["recipe"],
        "algo": run.facts["algo"],
        "model": file.name,
        "sha256": sha256,
        "steps": model.num_timesteps,
        "frames": model.num_timesteps * run.facts["frame_skip"],
        "protocol": protocol.describe(game, hyperparams),
        **scores.summary(),
        "human_normalised": human_normalised(game.rom, scores.mean) if plain else None,
    }
    try:
        write_json(run.path / EVALUATION_FILE, result)
    except OSError as error:
        score = f"{scores.mean:.1f} ± {scores.std:.1f} points over {len(scores.scores)} games"
        reason = f"cannot be written ({error.strerror}); it played {score}"
        raise UserError(f"RUN {run.path}: {reason}") from None
    return result


def _progress(episodes: int) -> Callable[[int], None]:
    """A function that prints how far an evaluation is, a line at times."""
    began = line_at = time.monotonic()

    def tell(done: int) -> None:
        nonlocal line_at
        if (now := time.monotonic()) - line_at > LINE_EVERY:
            line_at = now
            left = f", about {(now - began) / done * (episodes - done):.0f} s left" if done else ""
            say(f"evaluation: {done} of {episodes} games{left}")

    return tell


def score_table(run: Run, result: dict[str, Any]) -> str:
    """The result beside random play, the best single action, humans and published agents."""
    rows = score_rows(run, result)
    width = max(len(label) for label, _, _ in rows)
    lines = [f"{label:<{width}}  {score:>10.1f}  {source}" for label, score, source in rows]
    protocol, normalised = result["protocol"], result["human_normalised"]
    variant = run.hyperparams.env_kwargs.variant
    settings = "".join(f", {key} {value}" for key, value in variant.items())
    title = (
        f"{result['env_id']}{settings}, raw points, full games: {result['episodes']}, epsilon"
        f" {protocol['epsilon']}, 1-{protocol['noop_max']} no-ops, sticky actions"
        f" {protocol['repeat_action_probability']}; model {result['model']}"
    )
    shown = "unknown" if normalised is None else f"{normalised:.3f} (0 random, 1 human)"
    leaderboard = f"mean - std {result['mean_minus_std']:.1f}; human-normalised {shown}"
    hint = "make baselines adds random and the best single action here"
    return "\n".join([title, *lines, leaderboard, *([] if baselines_of(run) else [hint])])


def score_rows(run: Run, result: dict[str, Any]) -> list[Level]:
    """This agent, then what it is compared with."""
    spread = f"± {result['std']:.1f}, median {result['median']:.1f}, {interval_text(result)}"
    more = " after its parent's" if run.facts.get("parent") else ""
    label = f"this agent ({result['frames'] / 1e6:.2f}M frames{more})"
    return [Level(label, result["mean"], spread), *levels_of(run)]
