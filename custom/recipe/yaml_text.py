"""YAML that anybody may have written: plain data of a limited size, and nothing is called.

The zoo writes its ``config.yml`` and ``args.yml`` with Python tags and reads them with a loader
that calls what they name. Two of these tags are understood here, ordered dictionaries and tuples.
Texts that the zoo evaluates, e.g. ``dict(net_arch=[256])``, are parsed, not run.
"""

from __future__ import annotations

import ast
from typing import Any, ClassVar

import yaml
from yaml.constructor import ConstructorError

from custom.system.errors import UserError

MAX_BYTES = 2**16  # the largest recipe has about 4,000
MAX_VALUES = 20_000  # an alias counts each time that it is used
MAX_DEPTH = 20
MAX_DIGITS = 30
MAX_CODE = 2000  # characters of a text that the zoo evaluates
CORE = "tag:yaml.org,2002:"
KINDS = ("bool", "float", "int", "map", "null", "seq", "str")


def _ordered(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> dict[Any, Any]:
    [pairs] = loader.construct_sequence(node, deep=True)
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def _refuse(loader: yaml.SafeLoader, node: yaml.Node) -> None:
    problem = f"the tag {node.tag.replace(CORE, '!!')!r} is refused"
    raise ConstructorError(None, None, problem, node.start_mark)


class PlainLoader(yaml.SafeLoader):
    """`SafeLoader` for fewer types, with the zoo's two tags; errors name the line."""

    yaml_constructors: ClassVar = {
        **{CORE + kind: yaml.SafeLoader.yaml_constructors[CORE + kind] for kind in KINDS},
        CORE + "python/tuple": yaml.SafeLoader.construct_sequence,
        CORE + "python/object/apply:collections.OrderedDict": _ordered,
        None: _refuse,
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As PyYAML's; what a scalar cannot be is an error of its line."""
        if node.tag == CORE + "int" and len(node.value) > MAX_DIGITS:
            problem = f"a number of more than {MAX_DIGITS} digits is refused"
            raise ConstructorError(None, None, problem, node.start_mark)
        try:
            return super().construct_object(node, deep=True)
        except (ValueError, LookupError, TypeError, ArithmeticError):
            shown = f"{node.value!r} is" if isinstance(node, yaml.ScalarNode) else "is"
            problem = f"{shown} no {node.tag.replace(CORE, '!!')}; write a plain value"
            raise ConstructorError(None, None, problem, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML's, which would keep the last of two equal keys."""
        names = set[str]()
        for key, _ in node.value:
            if key.tag not in (CORE + "str", CORE + "merge"):
                problem = f"the key {key.value!r} is not text; write it in quotes"
                raise ConstructorError(None, None, problem, key.start_mark)
            if key.value in names:
                problem = f"the key {key.value!r} stands twice; delete one"
                raise ConstructorError(None, None, problem, key.start_mark)
            names.add(key.value)
        return super().construct_mapping(node, deep=True)


def read_yaml(content: bytes, file: str) -> Any:
    """Dictionaries, lists, texts, numbers, true, false, null.

    :param file: its name, for messages
    :raises UserError: anything else, with file, line and reason
    """
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"{len(content):,} bytes; {MAX_BYTES:,} are allowed")
        value = yaml.load(content.decode(), PlainLoader)
        _count(value, 0, 0)
        return value
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not UTF-8 text; save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{file}: {line}{problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as YAML ({reason})") from None


def _count(value: Any, depth: int, counted: int) -> int:
    """Number of values, with aliases written out.

    :raises ValueError: too many, nested too deep, or a key is not text
    """
    if depth > MAX_DEPTH or counted > MAX_VALUES:
        raise ValueError(f"more than {MAX_DEPTH} levels or {MAX_VALUES:,} values")
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise ValueError("a key is not text")
    if not isinstance(value, dict | list | str | int | float | None):
        raise ValueError("only numbers, texts, lists and dictionaries are understood")
    children = list(value.values()) if isinstance(value, dict) else value
    for child in children if isinstance(children, list) else ():
        counted = _count(child, depth + 1, counted)
    return counted + 1


class _Plain(ast.NodeTransformer):
    """``dict(a=1)`` as ``{"a": 1}``, which `ast.literal_eval` knows, and tuples as lists."""

    def visit_Tuple(self, node: ast.Tuple) -> ast.expr:  # ast's name
        self.generic_visit(node)
        return ast.List(node.elts)

    def visit_Call(self, node: ast.Call) -> ast.expr:  # ast's name
        self.generic_visit(node)
        names = [word.arg for word in node.keywords]
        is_dict = isinstance(node.func, ast.Name) and node.func.id == "dict"
        if not is_dict or node.args or None in names:
            raise ValueError("only dict(name=value) is understood")
        keys: list[ast.expr | None] = [ast.Constant(name) for name in names]
        return ast.Dict(keys, [word.value for word in node.keywords])


def literal(value: Any) -> Any:
    """The value of a text that the zoo evaluates, e.g. ``dict(net_arch=[256])``; others as is.

    :raises ValueError: the text is more than numbers, texts, lists and dictionaries
    """
    if not isinstance(value, str):
        return value
    try:
        if len(value) > MAX_CODE:
            raise ValueError(f"more than {MAX_CODE} characters")
        found = ast.literal_eval(_Plain().visit(ast.parse(value.strip(), mode="eval")))
        _count(found, 0, 0)
        return found
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        shown = value if len(value) < 80 else f"{value[:80]}…"
        raise ValueError(f"is the code {shown!r}, which is not run ({error})") from None
