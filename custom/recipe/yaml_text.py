"""YAML that anybody may have written: plain data of a limited size, and nothing is called.

The zoo writes its ``config.yml`` and ``args.yml`` with Python tags and reads them with a loader
that calls what they name. Two of these tags are understood here, ordered dictionaries and tuples.
Texts that the zoo evaluates, e.g. ``dict(net_arch=[256])``, are parsed, not run.
"""

import ast
import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from custom.system.errors import UserError

MAX_BYTES = 2**16  # the largest recipe has about 4,000
MAX_VALUES = 20_000  # an alias counts each time that it is used
MAX_DEPTH = 20
MAX_NUMBER = 2**64  # Python refuses to print what is far longer
MAX_CODE = 2000  # characters of a text that the zoo evaluates
CORE = "tag:yaml.org,2002:"


class PlainLoader(yaml.SafeLoader):
    """`SafeLoader` with the zoo's two tags; errors name the line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As PyYAML's; what a scalar cannot be is an error of its line."""
        try:
            return super().construct_object(node, deep=True)
        except (ValueError, LookupError, TypeError, ArithmeticError):
            shown = f"{node.value[:40]!r} is" if isinstance(node, yaml.ScalarNode) else "is"
            problem = f"{shown} no {node.tag.replace(CORE, '!!')}; write a plain value"
            raise ConstructorError(None, None, problem, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As PyYAML's, which would keep the last of two equal keys."""
        names = set[str]()
        for key, _ in node.value:
            if key.value in names:
                problem = f"the key {key.value!r} stands twice; delete one"
                raise ConstructorError(None, None, problem, key.start_mark)
            names.add(str(key.value))
        return super().construct_mapping(node, deep=True)


def _ordered(loader: PlainLoader, node: Any) -> dict[Any, Any]:
    [pairs] = loader.construct_sequence(node, deep=True)
    return dict(pairs)


def _tuple(loader: PlainLoader, node: Any) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


def _refuse(loader: PlainLoader, node: Any) -> None:
    problem = f"the tag {node.tag.replace(CORE, '!!')!r} is refused"
    raise ConstructorError(None, None, problem, node.start_mark)


yaml.add_constructor(CORE + "python/object/apply:collections.OrderedDict", _ordered, PlainLoader)
yaml.add_constructor(CORE + "python/tuple", _tuple, PlainLoader)
yaml.add_constructor(None, _refuse, PlainLoader)  # any other tag
# As YAML 1.2 has it; PyYAML reads 1e-4 as a text.
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
yaml.add_implicit_resolver(CORE + "float", EXPONENT, list("-+0123456789"), PlainLoader)


def read_yaml(content: bytes, file: str) -> Any:
    """Dictionaries, lists, texts, numbers, true, false, null.

    :param file: its name, for messages
    :raises UserError: anything else, with file and reason
    """
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"{len(content):,} bytes; {MAX_BYTES:,} are allowed")
        value = yaml.load(content.decode(), PlainLoader)
        _count(value, 0, 0)
        return value
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not UTF-8 text; save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else "cannot be read as YAML: "
        reason = getattr(error, "problem", None) or getattr(error, "context", None) or error
        raise UserError(f"{file}: {line}{' '.join(str(reason).split())}") from None


def _count(value: Any, depth: int, counted: int) -> int:
    """Number of values, with aliases written out.

    :raises ValueError: too many, nested too deep, or anything that is not plain
    """
    if depth > MAX_DEPTH or counted > MAX_VALUES:
        raise ValueError(f"more than {MAX_DEPTH} levels or {MAX_VALUES:,} values")
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise ValueError("a number is too large")
    if isinstance(value, dict):
        if others := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"the key {others[0]!r} is not text; write it in quotes")
        value = list(value.values())
    elif not isinstance(value, list | str | int | float | None):
        raise ValueError("only numbers, texts, lists and dictionaries are understood")
    for child in value if isinstance(value, list) else ():
        counted = _count(child, depth + 1, counted)
    return counted + 1


def _evaluated(node: ast.expr) -> Any:
    """As `ast.literal_eval`, with ``dict(a=1)``; tuples become lists."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict" and not node.args:
        return {word.arg: _evaluated(word.value) for word in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_evaluated(item) for item in node.elts]
    return ast.literal_eval(node)


def literal(key: str, value: Any) -> Any:
    """The value of a text that the zoo evaluates, e.g. ``dict(net_arch=[256])``; others as is.

    :raises ValueError: the text is more than numbers, texts, lists and dictionaries
    """
    if not isinstance(value, str):
        return value
    try:
        if len(value) > MAX_CODE:
            raise ValueError(f"more than {MAX_CODE} characters")
        found = _evaluated(ast.parse(value.strip(), mode="eval").body)
        _count(found, 0, 0)
        return found
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{key} is the code {value[:80]!r}, which is not run ({error})") from None
