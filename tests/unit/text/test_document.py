"""JSON is JSON and YAML is 1.2: what people write comes back byte for byte, or is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from service.cli.main import app
from service.errors import InvalidError
from service.text.document import load, read
from service.text.encoding import decoded

STRANGE = ["\x85", "\u2028", "\u2029", "\x7f", "\x9f", "\ufeff", "\ue000", "\uffff", "\ufffe", "\t", "\n", "\x00", "😀"]
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(STRANGE), max_size=20)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5)


def said(text: str) -> list[str]:
    """What is wrong with a text, with lines."""
    try:
        _, violations = load(text)
    except InvalidError as error:
        violations = list(error.violations)
    return [str(violation) for violation in violations]


@given(objects, st.booleans(), st.sampled_from([None, "\t", 2]), st.sampled_from(["", "\ufeff"]))
@example({"k" * 5000: "\x85\u2028\x7f"}, False, "\t", "\ufeff")
@settings(max_examples=400, deadline=None)
def test_any_json_comes_back(value: dict[str, Any], ascii_only: bool, indent: str | None, mark: str) -> None:
    item, violations = load(mark + json.dumps(value, ensure_ascii=ascii_only, indent=indent))
    assert not violations
    assert item.plain() == value
    assert json.dumps(item.plain()) == json.dumps(value)  # 1 is not 1.0, True is not 1


@given(st.text(max_size=100) | objects.map(json.dumps), st.integers(0, 400), st.text(max_size=3))
@settings(max_examples=400, deadline=None)
def test_json_is_what_pythons_own_decoder_takes_or_it_is_refused(text: str, at: int, put: str) -> None:
    text = '{"' + text[1:at] + put + text[at:]
    try:
        json.loads(text)
    except ValueError:
        assert said(text)


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(STRANGE), max_size=20), st.text(max_size=3))
@settings(max_examples=400, deadline=None)
def test_any_text_of_yaml_comes_back_or_is_refused_by_line(value: str, key: str) -> None:
    quoted = json.dumps(value, ensure_ascii=False)
    try:
        item, violations = load(f"# a comment\nkey: {quoted}\nlast: 1\n")
    except InvalidError as error:
        (wrong,) = error.violations
        assert wrong.line == 2
        assert "U+" in wrong.message
        assert "column" in wrong.message
        return
    assert not violations
    assert item.plain() == {"key": value, "last": 1}
    assert item.value["last"].line == 3


@pytest.mark.parametrize("strange", ["\x85", "\u2028", "\u2029"])
def test_what_yaml_1_1_called_line_breaks_are_characters(strange: str) -> None:
    text = f"plain: a{strange}b\nblock: |\n  a{strange}b\n  c\nfolded: >\n  a{strange}b\n{strange}key: '{strange}'\n"
    item, violations = load(text)
    assert not violations
    found = item.plain()
    assert found == {
        "plain": f"a{strange}b", "block": f"a{strange}b\nc\n", "folded": f"a{strange}b\n", f"{strange}key": strange
    }  # fmt: skip
    assert item.value[f"{strange}key"].line == 7


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("off", "off"), ("y", "y"), ("true", True), ("False", False),
        ("012", "012"), ("0o17", 15), ("0x1F", 31), ("0b11", "0b11"), ("1_000", "1_000"), ("12:30:45", "12:30:45"),
        ("2026-11-01", "2026-11-01"), ("2026-11-01T09:30:00Z", "2026-11-01T09:30:00Z"), ("1e3", 1000.0), ("+12", 12),
        ("-0", 0), (".5", 0.5), ("5.", 5.0), ("~", None), ("null", None), ("Null", None), ("=", "="), ("NaN", "NaN"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_the_core_schema(written: str, value: object) -> None:
    item, violations = load(f"key: {written}\n")
    assert not violations
    found = item.plain()["key"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{\n "a": NaN}', "line 2: a: NaN is not JSON"),
        ('{"a": [1,\n-Infinity]}', "line 2: a[1]: -Infinity is not JSON"),
        ('{"a": 1,\n"a": 2}', "line 2: a: given twice, first on line 1"),
        ('{"a": {"b": 1, "\\u0062": 2}}', "line 1: a.b: given twice"),
        ('{"a": 1e400}', "line 1: a: must be a finite number"),
        ('{"a": 1' + "0" * 5000 + "}", "line 1: a: the number is too large"),
        ('{"a": "\\ud800"}', "half of a character pair"),
        ('{"a": 1,}', "line 1: config: not valid JSON"),
        ('{"a": yes}', "line 1: config: not valid JSON: expecting value (column 7)"),
        ('{"a": "x\n"}', "not valid JSON: invalid control character"),
        ('{"a": 1} # no', "not valid JSON: extra data (column 10)"),
        ("{" + '"a": {' * 100 + "}" * 101, "nested deeper than 64"),
        ('{"a": ' * 80_000, "nested too deeply"),
        ("a: 1\nb: 2\na: 3\n", "line 3: a: given twice, first on line 1"),
        ('"a": 1\na: 3\n', "line 2: a: given twice, first on line 1"),
        ("a: {b: 1, b: 2}\n", "line 1: a.b: given twice"),
        ("a: .nan\n", "line 1: a: must be a finite number"),
        ("a: 1\n" + "k" * 1100 + ": 1\n", "line 2: config: not valid YAML: ...at most 1,024 characters"),
        ("a: 1\nb: {" + "k" * 1100 + ": 1}\n", "line 2: config: not valid YAML: ...at most 1,024 characters"),
        ("a:\n\tb: 1\n", "line 2: config: not valid YAML: ...(column 1)"),
        ("a: \x7f\n", "U+007F is not allowed (column 4)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(text: str, wanted: str) -> None:
    found = "\n".join(said(text))
    assert all(part in found for part in wanted.split("...")), found


def test_a_file_named_json_must_be_json(tmp_path: Path) -> None:
    for name, text in (("a.json", "experiment: x\n"), ("b.json", "{experiment: x}"), ("c.JSON", '{"a": 1')):
        (tmp_path / name).write_text(text)
        with pytest.raises(InvalidError, match="line 1: config: not valid JSON"):
            read(tmp_path / name)
    (tmp_path / "ok.yaml").write_text("{experiment: x}")
    assert read(tmp_path / "ok.yaml") == "{experiment: x}"
    told = CliRunner().invoke(app, ["apply", str(tmp_path / "a.json"), "--server", "localhost:1"])
    assert told.exit_code == 1
    assert told.stderr.startswith(f"{tmp_path}/a.json:1: config: not valid JSON")


# A zero behind the mark of UTF-16 makes it that of UTF-32; there is none in any text.
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_a_byte_order_mark_says_the_encoding(text: str) -> None:
    for name in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        assert decoded(("\ufeff" + text).encode(name)) == text
    assert decoded(text.encode("utf-16-le"), "utf-16-le") == text.removeprefix("\ufeff")


def test_what_is_no_text_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidError, match=r"line 2: file: is not UTF-8: byte 0xfc at offset 6; save it"):
        decoded("name:\nü".encode("cp1252"))
    with pytest.raises(InvalidError, match="klingon"):
        decoded(b"x", "klingon")
    assert decoded("arm,reward\nred,1\n".encode("utf-16-le")) == "arm,reward\nred,1\n"  # without a mark
    assert decoded("ü".encode("cp1252"), "cp1252") == "ü"
