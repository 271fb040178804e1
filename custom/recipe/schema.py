"""Writes the JSON Schema of recipes beside them: ``python -m custom.recipe.schema``."""

import json

from custom.recipe.model import json_schema
from custom.recipe.recipe import FOLDER

(FOLDER / "schema.json").write_text(json.dumps(json_schema(), indent=1) + "\n")
