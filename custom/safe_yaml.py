"""YAML that anybody may have written: plain data, in sane amounts, and nothing that is called.

The zoo writes its ``config.yml`` and ``args.yml`` with Python tags, and reads them with a loader
that calls whatever they name. Two of these tags are understood here, an ordered dictionary and a
tuple; values that the zoo evaluates, as ``dict(net_arch=[256])``, are taken apart, not run.
"""

from __future__ import annotations

import ast
from typing import Any

import yaml

from custom.errors import UserError

MOST_BYTES = 2**16  # the zoo's files have about a thousand
MOST_TEXT = 2000  # characters of code that stands in a value
DEEPEST = 20
MOST_DIGITS = 30
PLAIN = "tag:yaml.org,2002:"
ORDERED = PLAIN + "python/object/apply:collections.OrderedDict"
TUPLE = PLAIN + "python/tuple"
TAGS = {ORDERED, TUPLE, *(PLAIN + n for n in ("bool", "float", "int", "map", "null", "seq", "str"))}


class ZooLoader(yaml.SafeLoader):
    """`SafeLoader` with the two tags; `_check` has looked at the nodes before."""

    def ordered(self, node: yaml.SequenceNode) -> dict[Any, Any]:
        """``[[[key, value], ...]]`` as a dictionary."""
        [pairs] = self.construct_sequence(node, deep=True)
        return dict(pairs)

    def listed(self, node: yaml.SequenceNode) -> list[Any]:
        """A tuple as a list, as it stands in a recipe."""
        return self.construct_sequence(node, deep=True)


ZooLoader.add_constructor(ORDERED, ZooLoader.ordered)
ZooLoader.add_constructor(TUPLE, ZooLoader.listed)


def read_yaml(content: bytes, file: str) -> Any:
    """Plain data: dictionaries, lists, texts, numbers, true, false, null.

    :param file: its name, for messages
    :raises UserError: anything else, with file, line and reason
    """
    if len(content) > MOST_BYTES:
        raise UserError(f"{file}: has {len(content):,} bytes, of {MOST_BYTES:,} allowed")
    try:
        loader = ZooLoader(content)
        node = loader.get_single_node()
        if node is None:
            return None
        refuse_duplicates(node, set())
        _check(node, set(), 0)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{file}: {line}{problem}") from None
    except RecursionError:
        raise UserError(f"{file}: is nested deeper than {DEEPEST} levels") from None
    except (yaml.YAMLError, ValueError, TypeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as YAML ({reason})") from None


def refuse_duplicates(node: yaml.Node, seen: set[int]) -> None:
    """PyYAML would keep the last of two equal keys in silence.

    :param seen: nodes that were looked at, as an alias is the node itself
    :raises ConstructorError: a key stands twice
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    _distinct([key for key, _ in pairs])
    for _, value in pairs:
        refuse_duplicates(value, seen)
    for item in node.value if isinstance(node, yaml.SequenceNode) else []:
        refuse_duplicates(item, seen)


def _distinct(keys: list[yaml.Node]) -> None:
    names: set[str] = set()
    for key in keys:
        if isinstance(key, yaml.ScalarNode) and key.value in names:
            raise _refusal(key, f"the key {key.value!r} stands twice; delete one")
        names.add(key.value if isinstance(key, yaml.ScalarNode) else "")


def _check(node: yaml.Node, seen: set[int], depth: int) -> None:
    """Refuse other tags, aliases of collections, keys that are no words, and deep nesting."""
    if node.tag not in TAGS:
        raise _refusal(node, f"the tag {node.tag.replace(PLAIN, '!!')!r} is refused")
    if isinstance(node, yaml.ScalarNode):
        if node.tag == PLAIN + "int" and len(node.value) > MOST_DIGITS:
            raise _refusal(node, f"a number of more than {MOST_DIGITS} digits is refused")
        return
    if id(node) in seen:
        raise _refusal(node, "a collection with an alias is refused; write it out")
    seen.add(id(node))
    if depth > DEEPEST:
        raise _refusal(node, f"is nested deeper than {DEEPEST} levels")
    if node.tag == ORDERED:
        _check_ordered(node)
    if isinstance(node, yaml.SequenceNode):
        children = list(node.value)
    else:
        assert isinstance(node, yaml.MappingNode)
        _check_keys([key for key, _ in node.value])
        children = [value for _, value in node.value]
    for child in children:
        _check(child, seen, depth + 1)


def _check_ordered(node: yaml.Node) -> None:
    lists = node.value if isinstance(node, yaml.SequenceNode) else []
    if len(lists) != 1 or not isinstance(lists[0], yaml.SequenceNode):
        raise _refusal(node, "is no ordered dictionary as the zoo writes it")
    for pair in lists[0].value:
        if not isinstance(pair, yaml.SequenceNode) or len(pair.value) != 2:
            raise _refusal(pair, "is no pair of an ordered dictionary")
    keys = [pair.value[0] for pair in lists[0].value]
    _check_keys(keys)
    _distinct(keys)


def _check_keys(keys: list[yaml.Node]) -> None:
    for key in keys:
        if key.tag != PLAIN + "str":
            raise _refusal(key, "a key that is no word is refused")


def _refusal(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def literal(key: str, value: Any) -> Any:
    """A value whose text the zoo evaluates: ``dict(net_arch=[256])`` or ``{'norm_obs': True}``.

    :param key: its name, for messages
    :return: what the text says, or the value itself where it is no text
    :raises ValueError: the text is more than numbers, texts, lists and dictionaries
    """
    if not isinstance(value, str):
        return value
    try:
        if len(value) > MOST_TEXT:
            raise ValueError(f"more than {MOST_TEXT} characters")
        return _literal(ast.parse(value.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        shown = value if len(value) < 80 else f"{value[:80]}…"
        raise ValueError(f"{key} is the code {shown!r}, which is not run ({error})") from None


def _literal(node: ast.expr) -> Any:
    """As `ast.literal_eval`, which knows no ``dict(name=value)``."""
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args
        if not named or any(word.arg is None for word in node.keywords):
            raise ValueError("only dict(name=value) is understood")
        return {str(word.arg): _literal(word.value) for word in node.keywords}
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        if len(keys) < len(node.keys) or not all(isinstance(key, str) for key in keys):
            raise ValueError("a key is no word")
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = ...
    if not isinstance(value, str | int | float | None):
        raise ValueError("only numbers, texts, lists and dictionaries are understood")
    return value
