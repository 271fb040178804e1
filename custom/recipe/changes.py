"""Values behind the name of a recipe: ``dqn+n_steps=3+policy_kwargs.dueling=true``."""

from __future__ import annotations

import copy
import re
from contextlib import suppress
from typing import Any

from custom.recipe.yaml_text import read_yaml

CHANGE = re.compile(r"\+(?=[A-Za-z_][\w.]*=)")  # what separates one from the next


def split_changes(text: str) -> tuple[str, str]:
    """A recipe's name or path, and what follows it: ``+key=value`` for each change."""
    file = re.match(r".*\.ya?ml(?=\+|$)", text)  # its folders may have such names, too
    base = file[0] if file else CHANGE.split(text, maxsplit=1)[0]
    return base, text[len(base) :]


def changed(entry: dict[str, Any], changes: str) -> dict[str, Any]:
    """An entry with other values; a dotted key is one of an inner dictionary."""
    changed = copy.deepcopy(entry)
    for change in CHANGE.split(changes)[1:]:
        path, _, text = change.partition("=")
        *outer, key = path.split(".")
        inner = changed
        for name in outer:
            inner[name] = inner.get(name) or {}
            inner = inner[name]
            if not isinstance(inner, dict):
                raise ValueError(f"{path}: {name} is {inner!r}, which has no {key}")
        value = read_yaml(text.encode(), f"{path}={text}")
        with suppress(ValueError, TypeError):  # YAML takes 1e-4 for a text
            value = float(value) if isinstance(value, str) else value
        inner[key] = value
    return changed
