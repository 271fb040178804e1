"""`make leaderboard`: the agents on the Hub for a game, ranked by mean - std.

Leaderboards read the same two things: the environment id among the tags, and the first metric of
the first result of ``model-index``, a text ``mean +/- std``. Nobody checks what it says.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_token

from custom.atomic import write_json
from custom.console import say
from custom.errors import UserError
from custom.evaluation import EPSILON
from custom.hub.client import UnreachableError, ask, user_of
from custom.provenance import now
from custom.recipe.games import Game
from custom.results import EVALUATION_FILE
from custom.runs import open_run

MOST_POINTS = 1e9  # no game counts so far
FRESH = 3600  # seconds for which a table is not asked for again
NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
SCORE = re.compile(rf"\s*({NUMBER})\s*(?:\+/-|\+-|±)\s*({NUMBER})\s*")


@dataclass(frozen=True)
class Entry:
    """An agent and what its author says that it scores.

    :param agent: ``user/name``, or the folder of a run of this machine
    :param whose: ``""`` for other people's, ``yours`` on the Hub, ``here`` for runs in LOGS
    """

    agent: str
    algorithm: str
    mean: float
    std: float
    whose: str = ""

    @property
    def rank_by(self) -> float:
        """Mean - std, the Hub's measure."""
        return self.mean - self.std


@dataclass(frozen=True)
class Table:
    """What the Hub had at some time.

    :param fetched: that time, UTC
    :param unscored: agents with the tag whose card has no score that can be read
    """

    fetched: str
    entries: list[Entry]
    unscored: int


def table_of(api: HfApi, game: Game, logs: Path, refresh: bool = False) -> Table:
    """The Hub's agents for a game: asked for, or as they were less than an hour ago.

    :raises UserError: the Hub cannot be reached and has never been asked
    """
    file = logs / "leaderboards" / f"{game.folder_name}.json"
    kept = _read(file, api.endpoint)
    if kept is not None and not refresh and time.time() - file.stat().st_mtime < FRESH:
        say(f"as of {kept.fetched}; ARGS=--refresh asks again")
        return kept
    try:
        table = _ask_for_table(api, game)
    except UnreachableError as error:
        if kept is None:
            raise
        say(f"offline, as of {kept.fetched}: {error}")
        return kept
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"endpoint": api.endpoint, **asdict(table)})
    except OSError as error:
        raise UserError(f"LOGS {file.parent}: cannot be written ({error.strerror})") from None
    return table


def _read(file: Path, endpoint: str) -> Table | None:
    """A kept table; one that is damaged or of another Hub is none."""
    try:
        content = json.loads(file.read_text())
        kept = content["entries"]
        entries = [Entry(**e | {key: float(e[key]) for key in ("mean", "std")}) for e in kept]
        right = content["endpoint"] == endpoint
        return Table(content["fetched"], entries, content["unscored"]) if right else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ask_for_table(api: HfApi, game: Game) -> Table:
    def models() -> list[Any]:
        return list(api.list_models(filter=game.env_id, expand=["cardData", "model-index"]))

    user, entries, unscored = _user(api), [], 0
    for model in ask(f"the agents for {game.env_id}", models):
        whose = "yours" if user is not None and model.id.startswith(f"{user}/") else ""
        entry = entry_of(model, whose)
        if entry is None:
            unscored += 1
        else:
            entries.append(entry)
    return Table(now(), entries, unscored)


def _user(api: HfApi) -> str | None:
    """Whose agents are one's own; without a token that is taken, nobody's."""
    try:
        return str(ask("your name", lambda: user_of(api))["name"]) if get_token() else None
    except UserError:
        return None


def entry_of(model: Any, whose: str = "") -> Entry | None:
    """What a model's card says, or None where it says no score."""
    index = model.model_index
    if index is None and model.card_data is not None:
        index = model.card_data.to_dict().get("model-index")
    try:
        first = index[0]
        value = str(first["results"][0]["metrics"][0]["value"])
        found = SCORE.fullmatch(value)
        mean, std = (float(found[1]), float(found[2])) if found else (float(value), 0.0)
        if not (abs(mean) < MOST_POINTS and 0 <= std < MOST_POINTS):
            return None
        return Entry(model.id, _line(first.get("name", "")), mean, std, whose)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def local_entries(game: Game, logs: Path) -> list[Entry]:
    """The evaluated runs of this machine, but for those that came from the Hub."""
    entries = []
    for file in sorted(logs.glob(f"*/*/{game.folder_name}_*/{EVALUATION_FILE}")):
        try:
            run = open_run(file.parent)
            found = json.loads(file.read_text())
            scores = float(found["mean"]), float(found["std"])
            if found["protocol"]["epsilon"] != EPSILON:
                continue
        except (UserError, OSError, ValueError, KeyError, TypeError):
            continue
        if "pulled" not in run.facts:
            name = f"{run.facts['algo'].upper()} ({run.facts['recipe']})"
            entries.append(Entry(str(file.parent), name, *scores, "here"))
    return entries


def format_table(table: Table, own: list[Entry], top: int) -> str:
    """The first places, and every place of one's own."""
    pushed = {(round(e.mean, 2), round(e.std, 2)) for e in table.entries if e.whose == "yours"}
    new = [e for e in own if (round(e.mean, 2), round(e.std, 2)) not in pushed]
    ranked = sorted([*table.entries, *new], key=lambda e: (-e.rank_by, e.agent))
    shown = [(n, e) for n, e in enumerate(ranked, start=1) if n <= top or e.whose]
    lines = [f"{'':>5}  {'mean - std':>10}  {'mean ± std':>20}  agent"]
    for place, entry in shown:
        score = f"{entry.mean:.1f} ± {entry.std:.1f}"
        note = f" [{entry.whose}]" if entry.whose else ""
        who = f"{entry.agent}{note} {entry.algorithm}"
        lines.append(f"{place:>5}  {entry.rank_by:>10.1f}  {score:>20}  {who}")
    silent = f"; {table.unscored} more state no score" if table.unscored else ""
    lines.append(f"{len(table.entries)} agents on the Hub, scores as their authors state{silent}")
    return "\n".join(lines)


def _line(text: Any) -> str:
    """A name from elsewhere, without what would move a terminal's cursor."""
    return "".join(c for c in str(text) if c.isprintable())[:60]
