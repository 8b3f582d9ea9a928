"""The YAML reader: YAML 1.2 scalars, lines, refusals; the writer's round trip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedbal.errors import UsageError
from fedbal.yaml_dump import dump
from fedbal.yaml_source import _Loader, parse, read


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, "f").problems]


def test_the_reader_is_a_safe_loader() -> None:
    assert issubclass(_Loader, yaml.SafeLoader)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("+3", 3),
        ("010", 10),
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("2.", 2.0),
        (".5", 0.5),
        ("-1.5e+2", -150.0),
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("12:30:45", "12:30:45"),
        ("2024-01-31", "2024-01-31"),
        ("1.2.3", "1.2.3"),
        ("'3'", "3"),
        ('"true"', "true"),
        ("!!str 3", "3"),
        ("./my_rule.py:MyRule", "./my_rule.py:MyRule"),
        ("=", "="),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    document = parse(f"key: {text}\n", "f")
    assert document.problems == []
    found = document.value["key"]
    assert found == value
    assert type(found) is type(value)


def test_lines_of_nested_keys() -> None:
    text = "# comment\na:\n  b: [1,\n    2]\n  c: {d: 1, e:\n    3}\n"
    marks = parse(text, "f").marks
    assert marks[("a",)] == "f:2"
    assert marks[("a", "b")] == "f:3"
    assert marks[("a", "b", 1)] == "f:4"
    assert marks[("a", "c", "d")] == marks[("a", "c", "e")] == "f:5"


def test_aliases_are_written_out() -> None:
    assert parse("a: &x {k: [1]}\nb: *x\n", "f").value == {"a": {"k": [1]}, "b": {"k": [1]}}


def test_windows_files_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert read(path).value == {"a": 1, "b": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3: a: given twice, in line 1 and in line 3; delete one of them."),
        ("a:\n  x: 1\n  x: 2\n", "f:3: a.x: given twice, in line 2 and in line 3; delete one of them."),
        ("a: null\n", "f:1: a: got null; a value is needed: leave the key out to get its default."),
        ("a:\nb: 1\n", "f:1: a: got null; a value is needed: leave the key out to get its default."),
        ("a: [1, ~]\n", "f:1: a[1]: got null; a value is needed: leave the key out to get its default."),
        ("a: .nan\n", "f:1: a: got .nan; a finite number is needed."),
        ("a: -.inf\n", "f:1: a: got -.inf; a finite number is needed."),
        ("a: 1e999\n", "f:1: a: got 1e999; a finite number is needed."),
        (f"a: {'9' * 5000}\n", f"f:1: a: got {'9' * 40}; a finite number is needed."),
        ("a: !!python/object/apply:os.system [ls]\n", "f:1: a: the tag !!python/object/apply:os.system is"),
        ("a: !mine 3\n", "f:1: a: the tag !mine is not allowed; remove it."),
        ("a: !!int x\n", "f:1: a: got x; a finite number is needed."),
        ("a: !!binary aGk=\n", "f:1: a: the tag !!binary is not allowed; remove it."),
        ("a: !!set {x}\n", "f:1: a: the tag !!set is not allowed; remove it."),
        ("? [1, 2]\n: 3\n", "f:1: got a key that is not a name"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "f:3: c.<<: merge keys are not allowed"),
        ('"\\e[31mred": ~\n', "f:1: '\\x1b[31mred': got null"),
    ],
)
def test_what_a_scenario_must_not_contain(text: str, expected: str) -> None:
    (found,) = problems(text)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("a: 1\n---\nb: 2\n", ["f:2", "more than one document"]),
        ("a:\n\tb: 1\n", ["f:2", "a tab; indent with spaces"]),
        ("a: 1\n  b: 2\n", ["f:2", "not valid YAML", "indentation"]),
        ("a: [1, 2\nb: 3\n", ["f:2", "not valid YAML"]),
        ("a: 'x\n", ["not valid YAML", "quotes"]),
        ("a: *nobody\n", ["f:1", "nobody"]),
        ("a: b: c\n", ["f:1", "not valid YAML"]),
        ("a: \x00\n", ["f:1", "does not allow"]),
        ("a: " + "[" * 100 + "]" * 100, ["f:1", "more than 64 levels"]),
        ("a: [" + "1," * 100_001 + "]", ["more than 100000 values"]),
        ("a: &a [*a]\n", ["f:1", "aliases", "64 levels"]),
    ],
)
def test_what_is_no_yaml_or_too_much(text: str, fragments: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "f")
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(UsageError, match="aliases expand to more than 100000"):
        parse("\n".join(lines), "f")


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("# " + "x" * (1 << 20) + "\na: 1\n")
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read(path)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="empty; a scenario needs at least"):
        read(path)


def test_a_file_that_is_not_text_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(UsageError, match=r"latin\.yaml:2: not UTF-8 text"):
        read(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path)


SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.sampled_from(
        ["1e-3", "yes", "null", "~", "0x1", "010", "1_0", "12:30", "2024-01-31", "=", "<<", " a ", "- b"]
    ),
)
KEYS = st.text(min_size=1).filter(lambda key: key != "<<")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_back_by_us_and_by_yaml_1_1(value: dict[str, Any]) -> None:
    text = dump(value)
    document = parse(text, "f")
    assert document.problems == []
    assert document.value == value
    assert yaml.safe_load(text) == value
