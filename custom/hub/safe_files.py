"""What lies beside an agent on the Hub, looked at before it is kept.

Nothing of a foreign ``run.json`` is kept as it is: plain facts of a known type are taken from it.
The other files are copied, byte for byte, if they are what their names say.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np

from custom.safe_zip import Archive

MEMBERS = {"evaluations.npz": 2**26, "training_games.csv": 2**26}  # bytes at most
ARRAYS = ("timesteps", "results", "ep_lengths", "mean_max_q", "successes")
COLUMNS = ["steps", "frames", "score", "game_frames"]
SHORT = 200  # characters
MOST_EVALUATIONS = 20_000
MOST_POINTS = 1e12


def check_evaluation(content: bytes) -> None:
    """An ``evaluation.json`` of this project.

    :raises ValueError: it is none
    """
    found = _json(content)
    for name in ("mean", "std", "median", "mean_minus_std"):
        _finite(name, found.get(name))
    if found["std"] < 0 or not isinstance(found.get("protocol"), dict):
        raise ValueError("its spread or its protocol is none")
    scores = found.get("scores")
    if not isinstance(scores, list) or found.get("episodes") != len(scores):
        raise ValueError("episodes and scores do not agree")
    for score in scores:
        _finite("a score", score)


def check_games(content: bytes) -> None:
    """A ``training_games.csv`` of this project.

    :raises ValueError: it is none
    """
    rows = csv.reader(io.StringIO(content.decode("ascii")))
    if next(rows, None) != COLUMNS:
        raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
    for row in rows:
        if len(row) != len(COLUMNS) or not all(math.isfinite(float(cell)) for cell in row):
            raise ValueError(f"row {rows.line_num} is not four numbers")


def check_evaluations(content: bytes) -> None:
    """An ``evaluations.npz`` that holds numbers only.

    :raises ValueError: it holds anything else
    """
    archive, shapes = Archive(content), {}
    for member in archive.members:
        name = member.removesuffix(".npy")
        if name not in ARRAYS or name == member:
            raise ValueError(f"{member} is no array of evaluations")
        shapes[name] = _check_array(name, archive.read(member, MEMBERS["evaluations.npz"]))
    steps, results = shapes.get("timesteps", ()), shapes.get("results", ())
    if len(steps) != 1 or len(results) != 2 or steps[0] != results[0] or 0 in results:
        raise ValueError(f"timesteps are of shape {steps}, results of {results}")
    if steps[0] > MOST_EVALUATIONS:
        raise ValueError(f"has {steps[0]:,} evaluations, of {MOST_EVALUATIONS:,} allowed")


def _check_array(name: str, content: bytes) -> tuple[int, ...]:
    """Its shape, as numpy would read it, without memory for what is declared."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} is in an unusual format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} holds objects of type {dtype}, not numbers")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"{name} is not as large as it declares")
    values = np.frombuffer(content, dtype, offset=file.tell())
    if not (np.abs(values.astype(float)) < MOST_POINTS).all():
        raise ValueError(f"{name} has a value that no game can have")
    return tuple(int(size) for size in shape)


def check_png(content: bytes) -> None:
    """A picture, by its first bytes.

    :raises ValueError: it is none
    """
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("is no PNG")


def check_mp4(content: bytes) -> None:
    """A film, by its first bytes.

    :raises ValueError: it is none
    """
    if content[4:8] != b"ftyp":
        raise ValueError("is no MP4")


CHECKS: dict[str, Callable[[bytes], None]] = {
    "evaluation.json": check_evaluation,
    "evaluations.npz": check_evaluations,
    "learning_curve.png": check_png,
    "replay.mp4": check_mp4,
    "training_games.csv": check_games,
}


def facts_of(content: bytes) -> dict[str, Any]:
    """Plain facts of a ``run.json``: those of a known name that are of their type.

    :raises ValueError: no JSON
    """
    found, facts = _json(content), {}
    for name, check in FACTS.items():
        try:
            facts[name] = check(name, found[name])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return facts


def _text(pattern: str) -> Callable[[str, Any], str]:
    def check(key: str, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{key} is {value!r}")
        return value

    return check


def _time(key: str, value: Any) -> str:
    return datetime.fromisoformat(value).isoformat(timespec="seconds")


def _packages(key: str, value: Any) -> dict[str, str]:
    version = _text(r"[\w.+!-]{1,50}")
    name = _text(r"[\w.-]{1,100}")
    return {name(key, k): version(key, v) for k, v in list(value.items())[:1000]}


def _hardware(key: str, value: Any) -> dict[str, Any]:
    words = _text(rf"[\w .,:()@/+-]{{1,{SHORT}}}")
    gpu = value["gpu"]
    return {
        "platform": words(key, value["platform"]),
        "cpus": whole(1, 10**6)(key, value["cpus"]),
        "gpu": None if gpu is None else words(key, gpu),
    }


def number(low: float, high: float, kind: type = float) -> Callable[[str, Any], Any]:
    """A check of a number in [low, high]."""

    def check(key: str, value: Any) -> Any:
        if type(value) not in (int, float) or not low <= value <= high:
            raise ValueError(f"{key} is {value!r}")
        return kind(value)

    return check


def whole(low: int, high: int) -> Callable[[str, Any], Any]:
    """A check of a whole number in [low, high]."""
    return number(low, high, int)


FACTS: dict[str, Callable[[str, Any], Any]] = {
    "seed": whole(0, 2**32),
    "started": _time,
    "finished": _time,
    "wall_clock_seconds": number(0, 1e10),
    "git_revision": _text(r"[0-9a-f]{7,64}(\+changes)?"),
    "python": _text(r"[\w.+-]{1,50}"),
    "hardware": _hardware,
    "packages": _packages,
}


def _json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("holds no named values")
    return found


def _finite(name: str, value: Any) -> None:
    number(-math.inf, math.inf)(name, value)
    if math.isinf(value):
        raise ValueError(f"{name} is infinite")
