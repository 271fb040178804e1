"""What is said of wrong values: key, value and what to write."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

EITHER = {  # what may be of two types
    "learning_rate": "a number above 0 and at most 1, or e.g. lin_1e-4",
    "train_freq": "a whole number above 0, or [number, step or episode]",
}


def said(error: Any, unknown_key: Callable[[tuple[Any, ...]], str]) -> str:
    """An error of Pydantic's: key, value and what to write.

    :param unknown_key: what to say of a key that nobody reads, by its place
    """
    key, kind, first = "", str(error["type"]), str(error["loc"][0])
    if first in EITHER and kind != "value_error":
        return f"{first} is {error['input']!r}; write {EITHER[first]}"
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    if kind == "missing":
        return f"{key} is missing; copy it from hyperparams/dqn.yml"
    if kind == "extra_forbidden":
        return f"{key} {unknown_key(error['loc'])}"
    if kind == "value_error":
        return f"{key} {error['ctx']['error']}"
    if kind in ("dict_type", "model_type"):
        example = "{alpha: 0.6, beta: 0.4}" if key == "prioritized_replay" else "{name: value}"
        return f"{key} is {error['input']!r}; write named values, e.g. {example}"
    message = error["msg"].replace("Input should be", "it must be").replace(" valid ", " ")
    return f"{key} is {error['input']!r}; {message.replace('a integer', 'an integer')}"


def unknown(key: str, known: list[str]) -> str:
    """What to say of a key that nobody reads."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
    return f"is not a known key; {hint}"
