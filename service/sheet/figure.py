"""Numbers of a report as HTML: each is written for people and carries what the report's JSON has, and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from typing import Any

Shown = Callable[[float], str]


class Figures:
    """Reads a report's JSON (service/remote/plain.py) by path, such as `segments.0.arms.1.mean`."""

    def __init__(self, report: dict[str, Any]) -> None:
        self._report = report

    def at(self, path: str) -> Any:
        """What stands there; None for what JSON has no word for."""
        found: Any = self._report
        for part in path.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        return found

    def number(self, path: str, shown: Shown, absent: str = "–") -> str:
        """A number for people, with its exact value and its place."""
        value = self.at(path)
        if value is None:
            return absent
        return f'<data value="{json.dumps(value)}" data-at="{path}">{escape(shown(value))}</data>'

    def text(self, path: str) -> str:
        """A text, escaped."""
        return escape(str(self.at(path)))


def share(value: float) -> str:
    """12.3 %."""
    return f"{value:.1%}".replace("%", " %")


def signed(value: float) -> str:
    """+12.3 %."""
    return f"{value:+.1%}".replace("%", " %")


def count(value: float) -> str:
    """12,345."""
    return f"{value:,.0f}"
