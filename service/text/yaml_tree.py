"""YAML text to a tree of values that know their lines.

The scalars are those of YAML 1.2's core schema, not of YAML 1.1: `no`, `on`, `12:30` and `2026-11-01` stay the text that
was written, `1e5`, `0x1F` and `0o17` are numbers. One thing is not: `02139` stays text, as postal codes are. Line breaks are
those of YAML 1.2 too. Aliases are followed within a budget, so a small file cannot unfold into a huge one.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from service.errors import InvalidError, Violation
from service.text.tree import Bad, Findings, Item, below

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_STR = "tag:yaml.org,2002:str"
_MAP = "tag:yaml.org,2002:map"
_SEQ = "tag:yaml.org,2002:seq"

_SCALARS = (
    (_NULL, re.compile(r"(?:~|null|Null|NULL|)\Z")),
    (_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    (_INT, re.compile(r"(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
    (
        _FLOAT,
        re.compile(
            r"(?:[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?(?:0|[1-9][0-9]*)\.?[eE][-+]?[0-9]+"
            r"|[-+]?(?:0|[1-9][0-9]*)\.|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
    ),
)
_BASES = {"0x": 16, "0o": 8}
_LONGEST_KEY = 1024  # of YAML itself, for a key without a question mark
# YAML 1.1, and so PyYAML, breaks lines here; YAML 1.2 has them as characters like any other.
_NO_BREAKS = "\x85\u2028\u2029"
_PRIVATE = range(0xE000, 0xF900)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalar rules of YAML 1.2; None is PyYAML's key for 'any first character'."""

    yaml_implicit_resolvers = {None: list(_SCALARS)}  # noqa: RUF012 (PyYAML's own class attribute)


def load(text: str) -> tuple[Item, list[Violation]]:
    """The tree of `text`, without a byte order mark, and what is wrong with single values in it.

    Raises InvalidError where there is no tree: not YAML, nested too deeply, empty.
    """
    aside = _set_aside(text)
    text = text.translate(aside)
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise InvalidError([_syntax(error, text)]) from None
    except yaml.reader.ReaderError as error:
        at = error.position
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        message = (
            f"not valid YAML: the character U+{int(error.character):04X} is not allowed (column {column}); "
            f'write it as "\\u{int(error.character):04X}" in double quotes'
        )
        raise InvalidError([Violation("config", message, line)]) from None
    except RecursionError:
        raise InvalidError.field("config", "nested too deeply") from None
    if root is None:
        raise InvalidError([Violation("config", "is empty", 1)])
    tree = _Tree({stand_in: ord(character) for character, stand_in in _pairs(aside)})
    return tree.item(root, "", root.start_mark.line + 1, 0), tree.findings.violations


def compose(text: str) -> Any:
    """The nodes of `text`, with their places in it. yaml.YAMLError, InvalidError."""
    return _Loader(text.translate(_set_aside(text))).get_single_node()


def _set_aside(text: str) -> dict[int, int]:
    """What stands for each of _NO_BREAKS while PyYAML reads: characters of private use that the text does not have."""
    used = set(text)
    wanted = [ord(character) for character in _NO_BREAKS if character in used]
    free = (code for code in _PRIVATE if chr(code) not in used)
    aside = dict(zip(wanted, free, strict=False))
    if len(aside) < len(wanted):
        raise InvalidError.field(
            "config", "has every character of private use and U+0085, U+2028 or U+2029 beside them"
        )
    return aside


def _pairs(aside: dict[int, int]) -> list[tuple[str, int]]:
    return [(chr(character), stand_in) for character, stand_in in aside.items()]


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Violation:
    mark = error.problem_mark or error.context_mark
    what = " ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return Violation("config", f"not valid YAML: {what}")
    lines = text.split("\n")
    longest = len(lines[mark.line]) if mark.line < len(lines) else 0
    hint = (
        f"; in YAML a key has at most {_LONGEST_KEY:,} characters, in JSON any number" if longest > _LONGEST_KEY else ""
    )
    return Violation("config", f"not valid YAML: {what} (column {mark.column + 1}){hint}", mark.line + 1)


class _Tree:
    """Turns nodes into Items, collecting what is wrong with them."""

    def __init__(self, back: dict[int, int]) -> None:
        """`back` puts in again what was set aside."""
        self.findings = Findings()
        self._back = back

    def item(self, node: yaml.Node, path: str, line: int, depth: int) -> Item:
        self.findings.count(len(node.value) if isinstance(node, yaml.ScalarNode) else 0, path, line, depth)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return Item(self._mapping(node, path, depth), line)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            entries = enumerate(node.value)
            return Item([self.item(n, f"{path}[{i}]", _line(n), depth + 1) for i, n in entries], line)
        if isinstance(node, yaml.ScalarNode):
            return Item(self._scalar(node, path, line), line)
        return Item(self.findings.wrong(path, line, f"the tag {node.tag} is not supported"), line)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.findings.wrong(path, line, "a key must be a plain word")
                continue
            key = self._text(key_node.value, path, line)
            place = below(path, key)
            if key == "<<" and key_node.style is None:
                self.findings.wrong(place, line, "merge keys are not supported")
            elif not self.findings.twice(found, key, place, line):
                found[key] = self.item(value_node, place, line, depth + 1)
        return found

    def _scalar(self, node: yaml.ScalarNode, path: str, line: int) -> Any:
        value = node.value
        try:
            if node.tag == _STR:
                return self._text(value, path, line)
            if node.tag == _NULL:
                return None
            if node.tag == _BOOL:
                return {"true": True, "false": False}[value.lower()]
            if node.tag == _INT:
                base = _BASES.get(value[:2], 10)
                return self.findings.integer(value if base == 10 else value[2:], path, line, base)
            if node.tag == _FLOAT:
                read = float(value.lower().replace(".inf", "inf").replace(".nan", "nan"))
                return self.findings.finite(read, path, line)
        except (KeyError, ValueError):
            return self._unreadable(node, path, line)
        return self.findings.wrong(path, line, f"the tag {node.tag} is not supported")

    def _unreadable(self, node: yaml.ScalarNode, path: str, line: int) -> Bad:
        return self.findings.wrong(path, line, f"cannot be read as {node.tag.rsplit(':', 1)[-1]}")

    def _text(self, value: str, path: str, line: int) -> str:
        return self.findings.text(value.translate(self._back), path, line)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
