"""Values of a recipe: numbers in a range, flags, named values; and what is said of wrong ones."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any


class RecipeError(ValueError):
    """What is wrong with one value and how to mend it; the reader adds file and game."""


Check = Callable[[str, Any], Any]


def number(low: float, high: float, *, above: bool = False) -> Check:
    """A real number in [low, high], or in (low, high] with `above`."""

    def check(key: str, value: Any) -> float:
        real = _real(key, value)
        if not (low < real if above else low <= real) or real > high:
            bound = f"above {low:g}" if above else f"at least {low:g}"
            limit = "" if math.isinf(high) else f" and at most {high:g}"
            raise RecipeError(f"{key} is {value}; it must be {bound}{limit}")
        return real

    return check


def whole(low: int, high: float = math.inf) -> Check:
    """A whole number in [low, high]; ``!!float 1e6`` is one."""

    def check(key: str, value: Any) -> int:
        real = number(low, high)(key, value)
        if math.isinf(real) or real != int(real):
            raise RecipeError(f"{key} is {value}; it must be a whole number")
        return int(real)

    return check


def flag(key: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise RecipeError(f"{key} is {value!r}; write true or false")
    return value


def text(key: str, value: Any) -> str:
    """A word."""
    if not isinstance(value, str):
        raise RecipeError(f"{key} is {value!r}; write a word")
    return value


def one_of(*names: str) -> Check:
    """One of some words."""

    def check(key: str, value: Any) -> str:
        if value not in names:
            raise RecipeError(f"{key} is {value!r}; write {' or '.join(names)}")
        return str(value)

    return check


def listed(item: Check) -> Check:
    """A list of values, each checked."""

    def check(key: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise RecipeError(f"{key} is {value!r}; write a list, e.g. [a, b]")
        return [item(f"{key}[{place}]", one) for place, one in enumerate(value)]

    return check


def known_key(where: str, key: str, known: Iterable[str]) -> None:
    """Refuse a key that nobody reads, naming the closest one.

    :raises RecipeError: unknown
    """
    names = list(known)
    if key not in names:
        close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(names))}"
        raise RecipeError(f"{where} is not a known key; {hint}")


def mapping(key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        raise RecipeError(f"{key} is the code {value!r}; write plain data, e.g. {{name: value}}")
    if not isinstance(value, dict):
        raise RecipeError(f"{key} is {value!r}; write named values, e.g. {{name: value}}")
    return value


def _real(key: str, value: Any) -> float:
    if isinstance(value, str):
        try:
            real = float(value)
        except ValueError:
            raise RecipeError(f"{key} is the text {value!r}; write a number") from None
        raise RecipeError(f"{key} is the text {value!r}; write !!float {real:g}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{key} is {value!r}; write a number")
    if isinstance(value, int) and abs(value) > 2**63:
        raise RecipeError(f"{key} is a number of {value.bit_length()} bits; write a smaller one")
    if math.isnan(value):
        raise RecipeError(f"{key} is not a number; write a number")
    return float(value)
