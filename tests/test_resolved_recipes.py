"""Every recipe says what it said when `resolved_recipes.jsonl` was written, value by value.

python -m tests.test_resolved_recipes    # write it anew, after a change that was meant
"""

import json
from pathlib import Path
from typing import Any

import pytest

from custom.recipe.games import find_game
from custom.recipe.recipe import FOLDER, load_recipe

FILE = Path(__file__).with_name("resolved_recipes.jsonl")
GAMES = ["SpaceInvaders", "Pong", "Breakout", "Qbert", "Seaquest", "MsPacman", "BeamRider"]
GAMES += ["Enduro", "Freeway"]  # the last one has no entry of its own in any recipe
NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))


def resolved(name: str, game: str) -> dict[str, Any]:
    recipe = load_recipe(name, find_game(game))
    return {"algo": recipe.algo, **recipe.hyperparams.given}


def read() -> dict[tuple[str, str], dict[str, Any]]:
    lines = map(json.loads, FILE.read_text().splitlines())
    return {(name, game): values for name, game, values in lines}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_said(name: str) -> None:
    recorded = read()
    for game in GAMES:
        assert resolved(name, game) == recorded[name, game], game


def test_no_recipe_is_missing() -> None:
    assert {name for name, _ in read()} == set(NAMES)


if __name__ == "__main__":
    rows = ([name, game, resolved(name, game)] for name in NAMES for game in GAMES)
    FILE.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
