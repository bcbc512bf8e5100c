"""The files of docs/numbers, and Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Numbers(dict[str, Any]):
    """The content of the JSON files of a folder by their names, each read when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, name: str) -> Any:
        text = (self.folder / f"{name}.json").read_text("utf-8")
        self[name] = json.loads(text, object_pairs_hook=_by_number)
        return self[name]


def _by_number(pairs: list[tuple[str, Any]]) -> dict[str | int, Any]:
    """`format` takes `[16]` for a number, also where JSON has but names."""
    return {int(name) if name.isdigit() else name: value for name, value in pairs}


def table(header: str, rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; `header` has bars between its cells."""
    rule = "|" + "---|" * (header.count("|") + 1)
    lines = [f"| {header} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines).replace("|  |", "| |")
