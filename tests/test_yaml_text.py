"""YAML that others wrote is plain data, or refused with its place and the reason."""

import re
from collections import OrderedDict
from itertools import pairwise
from typing import Any

import pytest
import yaml

from custom.recipe.yaml_text import MAX_BYTES, literal, read_yaml
from custom.system.errors import UserError

APPLY = "!!python/object/apply:"
BILLION = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefg")
)
ORDERED = APPLY + "collections.OrderedDict"


def test_what_the_zoo_writes_is_read_as_it_was_meant() -> None:
    values = OrderedDict(b=1e-4, a=[1, None, True], c=(4, "step"), d={"e": ""}, f="dict(x=1)")
    read = read_yaml(yaml.dump(values).encode(), "config.yml")
    plain = {"b": 1e-4, "a": [1, None, True], "c": [4, "step"], "d": {"e": ""}, "f": "dict(x=1)"}
    assert read == plain
    assert type(read) is dict
    text = "dict(net_arch=[256], x=dict(eps=1e-5, a=(1, -2), b={'c': True}))"
    x = {"eps": 1e-5, "a": [1, -2], "b": {"c": True}}
    assert literal("x", text) == {"net_arch": [256], "x": x}
    assert literal("x", None) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        (f"{ORDERED}\n- []", {}),
        ("{a: &x 1, b: *x}", {"a": 1, "b": 1}),
        ("[1e-4, 1.5E6, -2e+3, '1e4', 0x1e4, 1e]", [1e-4, 1.5e6, -2000.0, "1e4", 0x1E4, "1e"]),
        ("a: &x {c: 1}\nb: {<<: *x, d: 2}", {"a": {"c": 1}, "b": {"c": 1, "d": 2}}),
    ],
)
def test_plain_data_is_read(text: str, value: Any) -> None:
    assert read_yaml(text.encode(), "args.yml") == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"a: 1\nb: {APPLY}os.system [x]", f"line 2: the tag '{APPLY}os.system' is refused"),
        ("a: !!python/name:os.system", "line 1: the tag '!!python/name:os.system' is refused"),
        ("a: 2020-01-01", "only numbers, texts, lists and dictionaries are understood"),
        (f"{ORDERED}\nargs: [x]\nstate: {{a: 1}}", "line 1: expected a sequence node"),
        (f"{ORDERED}\n- - [[a], 1]", "line 1: is no !!python/object/apply:collections.OrderedDict"),
        ("a: 1\na: 2", "line 2: the key 'a' stands twice"),
        (BILLION, "20,000 values"),
        ("&x [*x]", "line 1: found unconstructable recursive node"),
        ("[" * 60_000, "maximum recursion depth exceeded"),
        ("a: [", "line 1: expected the node content"),
        ("a: !!int x", "line 1: 'x' is no !!int; write a plain value"),
        ("a: " + "9" * 5000, f"line 1: '{'9' * 40}' is no !!int"),
        ("#" * (MAX_BYTES + 1), "65,537 bytes; 65,536 are allowed"),
    ],
)
def test_anything_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)) as refusal:
        read_yaml(text.encode(), "config.yml")
    assert str(refusal.value).startswith("config.yml: ")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00", b"\xc3"])
def test_bytes_that_are_no_text_are_refused(content: bytes) -> None:
    with pytest.raises(UserError, match=r"config\.yml: "):
        read_yaml(content, "config.yml")


CODE = ["__import__('os').system('true')", "dict(optimizer_class=RMSprop)", "'a' * 10**9"]
CODE += ["dict(**{'a': 1})", "{**{}}", "{'a': [x for x in y]}", "", "\0"]
CODE += ["[" * 1500, "-" * 1900 + "1", "[1]," * 600]


@pytest.mark.parametrize("code", CODE)
def test_code_that_is_more_is_not_run(code: str) -> None:
    with pytest.raises(ValueError, match=r"is the code .* which is not run"):
        literal("x", code)
