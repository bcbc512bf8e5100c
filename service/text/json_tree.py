"""JSON text to a tree of values that know their lines: RFC 8259 and nothing beside it, no NaN, no key given twice.

Python's own decoder judges the text and reads every text and number; only where each value stands it does not tell.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import NamedTuple

from service.errors import InvalidError, Violation
from service.text.tree import Findings, Item, below

_SPACE = re.compile(r"[ \t\r\n]*")


class _Digits(str):
    """An integer as it is written."""

    __slots__ = ()


class _Constant(NamedTuple):
    """NaN or an infinity, which Python reads though they are no JSON."""

    name: str


_JUDGE = json.JSONDecoder(parse_int=_Digits, parse_float=_Digits, parse_constant=_Constant)
_READER = json.JSONDecoder(parse_int=_Digits, parse_constant=_Constant)


def check(text: str) -> None:
    """InvalidError, with line and column, unless the text is one JSON document; values are not judged."""
    try:
        _JUDGE.decode(text)
    except json.JSONDecodeError as error:
        said = error.msg[:1].lower() + error.msg[1:]
        raise InvalidError(
            [Violation("config", f"not valid JSON: {said} (column {error.colno})", error.lineno)]
        ) from None
    except RecursionError:
        raise InvalidError.field("config", "nested too deeply") from None


def load(text: str) -> tuple[Item, list[Violation]]:
    """The tree of `text`, without a byte order mark, and what is wrong with single values in it. InvalidError: no JSON."""
    check(text)
    walk = _Walk(text)
    item, _ = walk.value(walk.skip(0), "", 0)
    return item, walk.findings.violations


class _Walk:
    """Reads a text that is known to be JSON. Each method takes a place in it, and returns the place behind what it read."""

    def __init__(self, text: str) -> None:
        self.findings = Findings()
        self._text = text
        self._ends = [found.start() for found in re.finditer("\n", text)]

    def skip(self, at: int) -> int:
        """Behind the space at `at`."""
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def value(self, at: int, path: str, depth: int) -> tuple[Item, int]:
        """The value that begins at `at`."""
        line = bisect_right(self._ends, at) + 1
        if self._text[at] == "{":
            self.findings.count(0, path, line, depth)
            return self._mapping(at + 1, path, line, depth)
        if self._text[at] == "[":
            self.findings.count(0, path, line, depth)
            return self._list(at + 1, path, line, depth)
        read, end = _READER.raw_decode(self._text, at)
        self.findings.count(end - at, path, line, depth)
        return Item(self._scalar(read, path, line), line), end

    def _scalar(self, read: object, path: str, line: int) -> object:
        if isinstance(read, _Constant):
            return self.findings.wrong(path, line, f"{read.name} is not JSON; must be a finite number")
        if isinstance(read, _Digits):
            return self.findings.integer(read, path, line)
        if isinstance(read, str):
            return self.findings.text(read, path, line)
        return self.findings.finite(read, path, line) if isinstance(read, float) else read

    def _mapping(self, at: int, path: str, line: int, depth: int) -> tuple[Item, int]:
        found: dict[str, Item] = {}
        at = self.skip(at)
        while self._text[at] != "}":
            here = bisect_right(self._ends, at) + 1
            read, at = _READER.raw_decode(self._text, at)
            key = self.findings.text(read, path, here)
            place = below(path, key)
            at = self.skip(self.skip(at) + 1)  # the colon
            item, at = self.value(at, place, depth + 1)
            if not self.findings.twice(found, key, place, here):
                found[key] = item
            at = self._next(at)
        return Item(found, line), at + 1

    def _list(self, at: int, path: str, line: int, depth: int) -> tuple[Item, int]:
        found: list[Item] = []
        at = self.skip(at)
        while self._text[at] != "]":
            item, at = self.value(at, f"{path}[{len(found)}]", depth + 1)
            found.append(item)
            at = self._next(at)
        return Item(found, line), at + 1

    def _next(self, at: int) -> int:
        """The next element, or the end."""
        at = self.skip(at)
        return self.skip(at + 1) if self._text[at] == "," else at
