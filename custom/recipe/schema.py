"""JSON Schema of recipes, by which editors complete and check keys.

python -m custom.recipe.schema      # writes it anew, beside the recipes
"""

import json
from typing import Any

from custom.recipe.model import ALGORITHMS, DQNHyperparams
from custom.recipe.recipe import FOLDER


def json_schema() -> dict[str, Any]:
    """The schema of a recipe file."""
    entry = DQNHyperparams.model_json_schema()
    definitions = entry.pop("$defs")
    del entry["required"]  # they may stand in the recipe that is extended
    entry["properties"] = {
        name: {"anyOf": [value, {"type": "null"}], "description": value.get("description", "")}
        for name, value in entry["properties"].items()
    } | {"algo": {"enum": list(ALGORITHMS)}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "Entries: atari for every game, and environment ids for games that differ.",
        "type": "object",
        "properties": {"extends": {"type": "string", "description": "Name of another recipe."}},
        "additionalProperties": {"$ref": "#/$defs/entry"},
        "$defs": {**definitions, "entry": entry},
    }


if __name__ == "__main__":
    (FOLDER / "schema.json").write_text(json.dumps(json_schema(), indent=1) + "\n")
