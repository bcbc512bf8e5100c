"""YAML text to a tree of values that know their lines.

The scalars are those of YAML 1.2 and JSON, not of YAML 1.1: `no`, `on`, `12:30` and `02139` stay the text that was
written, `1e5` is a number. Aliases are followed within a budget, so a small file cannot unfold into a huge one.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

from service.errors import InvalidError, Violation

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
    (_INT, re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")),
    (
        _FLOAT,
        re.compile(
            r"(?:[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?(?:0|[1-9][0-9]*)\.?[eE][-+]?[0-9]+"
            r"|[-+]?(?:0|[1-9][0-9]*)\.|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
    ),
)
_DEPTH = 64
_NODES = 100_000
MAX_TEXT = 512 << 10
_CHARACTERS = 2 * MAX_TEXT


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalar rules of YAML 1.2; None is PyYAML's key for 'any first character'."""

    yaml_implicit_resolvers = {None: list(_SCALARS)}  # noqa: RUF012 (PyYAML's own class attribute)


class Bad(enum.Enum):
    """Stands where a value could not be read and the violation is already noted."""

    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Item:
    """A value with its line: a dict of Items, a list of Items, a scalar (None, bool, int, float, str), or Bad."""

    value: Any
    line: int

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


def load(text: str) -> tuple[Item, list[Violation]]:
    """The tree of `text` and what is wrong with single values in it.

    Raises InvalidError where there is no tree: not YAML, too large, nested too deeply, empty.
    """
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_TEXT:
        raise InvalidError.field("config", f"{size:,} bytes are too many, at most {MAX_TEXT:,}")
    if text.lstrip().startswith("{"):
        # JSON may be indented with tabs, YAML may not; inside JSON's strings no bare tab is allowed.
        text = text.replace("\t", " ")
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise InvalidError([Violation("config", f"not valid YAML: {what}", line)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not valid YAML: the character U+{int(error.character):04X} is not allowed"
        raise InvalidError([Violation("config", message, line)]) from None
    except RecursionError:
        raise InvalidError.field("config", "nested too deeply") from None
    if root is None:
        raise InvalidError([Violation("config", "is empty", 1)])
    tree = _Tree()
    return tree.item(root, "", root.start_mark.line + 1, 0), tree.violations


class _Tree:
    """Turns nodes into Items, collecting what is wrong with them."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._nodes = 0
        self._characters = 0

    def item(self, node: yaml.Node, path: str, line: int, depth: int) -> Item:
        self._nodes += 1
        self._characters += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        if depth > _DEPTH:
            raise InvalidError([Violation(path[:60] or "config", f"nested deeper than {_DEPTH} levels", line)])
        if self._nodes > _NODES or self._characters > _CHARACTERS:
            raise InvalidError([Violation(path or "config", "too large once its aliases are followed", line)])
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return Item(self._mapping(node, path, depth), line)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            entries = enumerate(node.value)
            return Item([self.item(n, f"{path}[{i}]", _line(n), depth + 1) for i, n in entries], line)
        if isinstance(node, yaml.ScalarNode):
            return Item(self._scalar(node, path, line), line)
        return Item(self._wrong(path, line, f"the tag {node.tag} is not supported"), line)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._wrong(path or "config", line, "a key must be a plain word")
                continue
            key = self._text(key_node.value, path, line)
            below = f"{path}.{key}" if path else key
            if key == "<<" and key_node.style is None:
                self._wrong(below, line, "merge keys are not supported")
            elif key in found:
                self._wrong(below, line, f"given twice, first on line {found[key].line}")
            else:
                found[key] = self.item(value_node, below, line, depth + 1)
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
                return self._integer(int(value), path, line)
            if node.tag == _FLOAT:
                return self._finite(float(value.lower().replace(".inf", "inf").replace(".nan", "nan")), path, line)
        except (KeyError, ValueError):
            return self._wrong(path, line, f"cannot be read as {node.tag.rsplit(':', 1)[-1]}")
        return self._wrong(path, line, f"the tag {node.tag} is not supported")

    def _integer(self, value: int, path: str, line: int) -> int | Bad:
        if -(2**63) <= value < 2**63:
            return value
        return self._wrong(path, line, "the number is too large; put it in quotes if it is a text")

    def _finite(self, value: float, path: str, line: int) -> float | Bad:
        if math.isfinite(value):
            return value
        return self._wrong(path, line, "must be a finite number")

    def _text(self, value: str, path: str, line: int) -> str:
        # JSON writes characters beyond the basic plane as two escapes, which PyYAML leaves as two surrogates.
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._wrong(path or "config", line, "has half of a character pair (a lone surrogate)")
            return value.encode("utf-8", "replace").decode()

    def _wrong(self, path: str, line: int, message: str) -> Bad:
        self.violations.append(Violation(path or "config", message, line))
        return Bad.BAD


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
