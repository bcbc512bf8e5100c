"""Typed reading of a mapping: every getter notes what is wrong, with path and line, and returns something usable.

So one pass finds all problems. A getter makes its key known; `done` reports the keys nobody asked for.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from service.errors import Violation
from service.text.tree import Bad, Item

ID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)\Z")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(kB|MB|GB)\Z")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


class Problems:
    """What was found wrong, and the line of every path that was read."""

    def __init__(self, violations: Sequence[Violation] = ()) -> None:
        self.violations = list(violations)
        self.lines: dict[str, int] = {}

    def add(self, path: str, message: str) -> None:
        """Note a violation; the line is that of the path or of the nearest path around it."""
        self.violations.append(Violation(path or "config", message, nearest(self.lines, path)))


def nearest(lines: dict[str, int], path: str) -> int | None:
    """Line of the path, or of the nearest one around it; None where no lines are known."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)


class Fields:
    """One mapping of the file. Optional getters return None or their default where the key is absent or null."""

    def __init__(self, problems: Problems, path: str, item: Item) -> None:
        self.problems = problems
        self.path = path
        self._known: list[str] = []
        self._entries: dict[str, Item] = {}
        problems.lines[path] = item.line
        if isinstance(item.value, dict):
            self._entries = item.value
            problems.lines |= {self.at(key): value.line for key, value in item.value.items()}
        else:
            self.readable = False
            self._mismatch(path, item, "a mapping of keys to values")

    readable = True

    def at(self, key: str) -> str:
        """Path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def add(self, key: str, message: str) -> None:
        """Note a violation of a key of this mapping."""
        self.problems.add(self.at(key), message)

    def done(self) -> None:
        """Report the keys that no getter asked for."""
        for key in self._entries:
            if key not in self._known:
                close = difflib.get_close_matches(key, self._known, 1)
                hint = (
                    f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(dict.fromkeys(self._known))}"
                )
                self.add(key, f"unknown key; {hint}")

    def has(self, key: str) -> bool:
        """Whether the key is there with a value."""
        found = self._entries.get(key)
        return found is not None and found.value is not None

    def fine(self, *keys: str) -> bool:
        """Whether nothing was noted about these keys: only then is it worth comparing them."""
        paths = {self.at(key) for key in keys}
        return not any(violation.field in paths for violation in self.problems.violations)

    def item(self, key: str, required: bool = False) -> Item | None:
        """The raw item; None where it is absent or null."""
        self._known.append(key)
        found = self._entries.get(key)
        if found is not None and found.value is not None:
            return found
        if required and self.readable:
            self.add(key, "is required")
        return None

    def _typed(self, key: str, kind: type | tuple[type, ...], name: str, required: bool) -> Any:
        item = self.item(key, required)
        if item is None:
            return None
        if isinstance(item.value, kind) and (kind is bool or not isinstance(item.value, bool)):
            return item.value
        self._mismatch(self.at(key), item, name)
        return None

    def _mismatch(self, path: str, item: Item, name: str) -> None:
        if item.value is not Bad.BAD:
            self.problems.add(path, f"must be {name}, not {_describe(item.value, name)}")

    def text(self, key: str, required: bool = False, limit: int = 10_000) -> str | None:
        """A text of 1 to `limit` characters."""
        value: str | None = self._typed(key, str, "text", required)
        if value is None or 0 < len(value) <= limit:
            return value
        self.add(key, f"has {len(value):,} characters, must have 1 to {limit:,}")
        return None

    def ident(self, key: str, required: bool = False) -> str | None:
        """An id; returned even where it is noted as malformed, so that references to it are not reported too."""
        value: str | None = self._typed(key, str, "text", required)
        if value is not None and not ID.match(value):
            self.add(key, f'"{value[:80]}" is not an id: 1 to 64 letters, digits, "_", "." and "-"')
        return value

    def choice(self, key: str, options: Sequence[str], default: str | None) -> str:
        """One of `options`; `default` None makes it required."""
        value = self._typed(key, str, f"one of {', '.join(options)}", default is None)
        if value is not None and value not in options:
            self.add(key, f'"{value}" is not one of {", ".join(options)}{_hint(value, options)}')
            value = None
        return value or default or options[0]

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false."""
        value = self._typed(key, bool, "true or false", False)
        return default if value is None else bool(value)

    def number(
        self, key: str, low: float | None = None, high: float | None = None, required: bool = False
    ) -> float | None:
        """A finite number in [low, high]."""
        value = self._typed(key, (int, float), "a number", required)
        if value is None:
            return None
        if (low is not None and value < low) or (high is not None and value > high):
            self.add(key, f"must be {_range(low, high)}, not {value:g}")
            return None
        return float(value)

    def duration(self, key: str, low: int, high: int) -> int | None:
        """A duration in milliseconds within [low, high], written like 30s; a bare 0 is a duration too."""
        item = self.item(key)
        if item is None or item.value is Bad.BAD:
            return None
        value = duration_ms(item.value) if isinstance(item.value, str) else None
        if value is None and (item.value != 0 or isinstance(item.value, (bool, str))):
            self.add(key, "must be a duration such as 250ms, 30s, 10m, 4h or 7d")
            return None
        value = value or 0
        if low <= value <= high:
            return value
        self.add(key, f"must be from {show_duration(low)} to {show_duration(high)}")
        return None

    def size(self, key: str, low: int) -> int | None:
        """A number of bytes, at least `low`, written like 512MB (of 2^20 bytes)."""
        item = self.item(key)
        if item is None or item.value is Bad.BAD:
            return None
        match = _SIZE.match(item.value) if isinstance(item.value, str) else None
        value = round(float(match[1]) * _BYTES[match[2]]) if match else -1
        if value < 0:
            self.add(key, "must be a size such as 64kB, 512MB or 2GB")
        elif value < low:
            self.add(key, f"must be at least {low >> 20}MB")
        else:
            return value
        return None

    def moment(self, key: str) -> int | None:
        """A date or date and time, in ms since 1970; UTC where no zone is given."""
        value = self._typed(key, str, "a date such as 2026-11-01 or 2026-11-01T09:30:00Z", False)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.add(key, f'"{value[:40]}" is not a date such as 2026-11-01 or 2026-11-01T09:30:00Z')
            return None
        if not 2000 <= moment.year <= 2200:
            self.add(key, "must be between the years 2000 and 2200")
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)

    def span(self) -> tuple[int | None, int | None]:
        """`start` and `end`, in order."""
        start, end = self.moment("start"), self.moment("end")
        if start is not None and end is not None and end <= start:
            self.add("end", "must be after start")
        return start, end

    def child(self, key: str, required: bool = False) -> Fields | None:
        """The mapping under a key."""
        item = self.item(key, required)
        return None if item is None else Fields(self.problems, self.at(key), item)

    def items(self, key: str, required: bool = False, filled: bool = False) -> Iterator[tuple[str, Item]]:
        """Path and item of each element of a list, which must not be empty where it is `required` or `filled`."""
        item = self.item(key, required)
        if item is None:
            return
        if not isinstance(item.value, list):
            self._mismatch(self.at(key), item, "a list")
            return
        if not item.value and (required or filled):
            self.add(key, "must not be empty")
        for number, element in enumerate(item.value):
            path = f"{self.at(key)}[{number}]"
            self.problems.lines[path] = element.line
            yield path, element

    def texts(self, key: str, required: bool = False) -> tuple[str, ...] | None:
        """A list of distinct texts, not empty; None where the key is absent."""
        found: list[str] = []
        for path, element in self.items(key, required, filled=True):
            if not isinstance(element.value, str):
                self._mismatch(path, element, "text")
            elif element.value in found:
                self.problems.add(path, f'"{element.value[:80]}" is given twice')
            else:
                found.append(element.value)
        return tuple(found) if key in self._entries and self._entries[key].value is not None else None

    def names(self) -> Sequence[str]:
        """All keys, each of them now known."""
        self._known.extend(self._entries)
        return tuple(self._entries)


def duration_ms(text: str) -> int | None:
    """Milliseconds of a duration such as 30s; None where it is none."""
    match = _DURATION.match(text)
    return round(float(match[1]) * _MS[match[2]]) if match else None


def show_duration(ms: int) -> str:
    """A duration as it is written in the file."""
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if ms % _MS[unit] == 0)
    return f"{ms // _MS[unit]}{unit}" if ms else "0"


def _hint(value: str, options: Sequence[str]) -> str:
    close = difflib.get_close_matches(value, options, 1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"


def _describe(value: Any, wanted: str) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f'the text "{value[:40]}"'
    name = "the flag" if isinstance(value, bool) else "the number"
    word = str(value).lower() if isinstance(value, bool) else f"{value}"
    return f"{name} {word}" + (f': put it in quotes, "{word}"' if wanted == "text" else "")
