"""`make leaderboard`: the Hub's agents for a game, ranked by mean - std.

Leaderboards read two things of a card: the environment id among the tags, and the first metric of
the first result of ``model-index``, a text ``mean +/- std``. Nobody checks what it says.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token

from custom.evaluation import EPSILON
from custom.evaluation.results import EVALUATION_FILE
from custom.hub.client import hub_errors
from custom.recipe.games import Game
from custom.runs.folder import open_run
from custom.system.errors import UserError

MOST_POINTS = 1e9  # above what any game counts
NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
SCORE = re.compile(rf"\s*({NUMBER})\s*(?:\+/-|\+-|±)\s*({NUMBER})\s*")


@dataclass(frozen=True)
class Entry:
    """An agent and the score that its author states.

    :param agent: ``user/name``, or the folder of a run of this machine
    :param owner: ``yours`` for the user's on the Hub, ``here`` for runs in LOGS, else empty
    """

    agent: str
    algorithm: str
    mean: float
    std: float
    owner: str = ""

    @property
    def rank_by(self) -> float:
        """Mean - std, the measure of the Hub's leaderboards."""
        return self.mean - self.std


def hub_entries(api: HfApi, game: Game) -> tuple[list[Entry], int]:
    """The Hub's agents for a game, and the number of those whose card states no score.

    :raises UserError: the Hub cannot be reached
    """
    with hub_errors(f"agents for {game.env_id}"):
        user = api.whoami()["name"] if get_token() else None
        models = list(api.list_models(filter=game.env_id, expand=["cardData", "model-index"]))
    entries = [
        entry
        for model in models
        if (entry := entry_of(model, "yours" if model.id.split("/")[0] == user else ""))
    ]
    return entries, len(models) - len(entries)


def entry_of(model: Any, owner: str = "") -> Entry | None:
    """What a model's card says, or None where it states no score."""
    index = model.model_index
    if index is None and model.card_data is not None:
        index = model.card_data.to_dict().get("model-index")
    try:
        first = index[0]
        value = str(first["results"][0]["metrics"][0]["value"])
        match = SCORE.fullmatch(value)
        mean, std = (float(match[1]), float(match[2])) if match else (float(value), 0.0)
        if not (abs(mean) < MOST_POINTS and 0 <= std < MOST_POINTS):
            return None
        return Entry(model.id, _printable(first.get("name", "")), mean, std, owner)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def local_entries(game: Game, logs: Path) -> list[Entry]:
    """The runs of this machine that were trained here and evaluated by the protocol."""
    entries = []
    for file in sorted(logs.glob(f"*/*/{game.folder_name}_*/{EVALUATION_FILE}")):
        try:
            run = open_run(file.parent)
            evaluation = json.loads(file.read_text())
            scores = float(evaluation["mean"]), float(evaluation["std"])
            epsilon = evaluation["protocol"]["epsilon"]
        except (UserError, OSError, ValueError, KeyError, TypeError, OverflowError):
            continue
        if epsilon == EPSILON and "pulled" not in run.facts:
            name = f"{run.facts['algo'].upper()} ({run.facts['recipe']})"
            entries.append(Entry(str(file.parent), name, *scores, "here"))
    return entries


def format_table(entries: list[Entry], unscored: int, local: list[Entry], top: int) -> str:
    """The first places of the Hub's and the local agents, and every place of the user's.

    :param unscored: number of the Hub's agents that state no score
    """
    pushed = {(round(e.mean, 2), round(e.std, 2)) for e in entries if e.owner == "yours"}
    not_pushed = [e for e in local if (round(e.mean, 2), round(e.std, 2)) not in pushed]
    ranked = sorted([*entries, *not_pushed], key=lambda e: (-e.rank_by, e.agent))
    lines = [f"{'':>5}  {'mean - std':>10}  {'mean ± std':>20}  agent"]
    for place, entry in enumerate(ranked, start=1):
        if place <= top or entry.owner:
            score = f"{entry.mean:.1f} ± {entry.std:.1f}"
            note = f" [{entry.owner}]" if entry.owner else ""
            agent = f"{entry.agent}{note} {entry.algorithm}"
            lines.append(f"{place:>5}  {entry.rank_by:>10.1f}  {score:>20}  {agent}")
    rest = f"; {unscored} more state no score" if unscored else ""
    lines.append(f"{len(entries)} agents on the Hub, scores as their authors state{rest}")
    return "\n".join(lines)


def _printable(text: Any) -> str:
    """A name from the Hub without characters that move a terminal's cursor."""
    return "".join(c for c in str(text) if c.isprintable())[:60]
