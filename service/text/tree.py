"""A tree of values that know their lines: what JSON and YAML are read into, and what both refuse in it."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any

from service.errors import InvalidError, Violation

MAX_TEXT = 512 << 10  # bytes
_DEPTH = 64
_NODES = 100_000
_CHARACTERS = 2 * MAX_TEXT


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


class Findings:
    """What is wrong with single values, and how much was read so far."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self._nodes = 0
        self._characters = 0

    def count(self, characters: int, path: str, line: int, depth: int) -> None:
        """One more value, with so many characters. InvalidError: nested too deeply, or too many."""
        self._nodes += 1
        self._characters += characters
        if depth > _DEPTH:
            raise InvalidError([Violation(path[:60] or "config", f"nested deeper than {_DEPTH} levels", line)])
        if self._nodes > _NODES or self._characters > _CHARACTERS:
            raise InvalidError([Violation(path[:60] or "config", "too large once its aliases are followed", line)])

    def wrong(self, path: str, line: int, message: str) -> Bad:
        """Note a value that cannot be used."""
        self.violations.append(Violation(path or "config", message, line))
        return Bad.BAD

    def twice(self, found: dict[str, Item], key: str, path: str, line: int) -> bool:
        """Whether the key of a mapping was there before; that is noted."""
        if key in found:
            self.wrong(path, line, f"given twice, first on line {found[key].line}")
        return key in found

    def integer(self, digits: str, path: str, line: int, base: int = 10) -> int | Bad:
        """An integer of 64 bits."""
        value = int(digits, base) if len(digits) < 100 else 1 << 63  # Python refuses thousands of digits
        if -(2**63) <= value < 2**63:
            return value
        return self.wrong(path, line, "the number is too large; put it in quotes if it is a text")

    def finite(self, value: float, path: str, line: int) -> float | Bad:
        """A float that is no infinity and not nan."""
        return value if math.isfinite(value) else self.wrong(path, line, "must be a finite number")

    def text(self, value: str, path: str, line: int) -> str:
        """A text; two halves of a character pair, as escapes write them, become the character."""
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.wrong(path, line, "has half of a character pair (a lone surrogate)")
            return value.encode("utf-8", "replace").decode()


def below(path: str, key: str) -> str:
    """The path of a key of the mapping at `path`."""
    return f"{path}.{key}" if path else key
