"""A JSON or YAML text to a tree, whichever it is: what begins like a JSON object is JSON, all else is YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from service.errors import InvalidError, Violation
from service.text import json_tree, yaml_tree
from service.text.encoding import BOM, decoded, file_bytes
from service.text.tree import MAX_TEXT, Item

SUFFIXES = (".yaml", ".yml", ".json")
_JSON = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*["}]')


def load(text: str) -> tuple[Item, list[Violation]]:
    """The tree of `text` and what is wrong with single values in it.

    Raises InvalidError where there is no tree: neither JSON nor YAML, too large, nested too deeply, empty.
    """
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_TEXT:
        raise InvalidError.field("config", f"{size:,} bytes are too many, at most {MAX_TEXT:,}")
    text = text.removeprefix(BOM)
    return json_tree.load(text) if _JSON.match(text) else yaml_tree.load(text)


def read(path: Path) -> str:
    """The text of a file, which in a file named .json must be JSON. InvalidError, with the line where there is one."""
    text = decoded(file_bytes(path))
    if path.suffix.lower() == ".json":
        json_tree.check(text)
    return text


def files_of(*paths: Path) -> list[Path]:
    """The files themselves, and the JSON and YAML files of folders by name; each once."""
    found: dict[Path, Path] = {}
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES) if path.is_dir() else [path]
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def repeated(texts: Mapping[Path, str]) -> list[str]:
    """A line for each file whose experiment another one has already: applied in turn, the last would win in silence."""
    first: dict[str, Path] = {}
    lines = []
    for file, text in texts.items():
        name = _experiment(text)
        if name in first:
            lines.append(f'{file}: experiment: "{name}" is in {first[name]} already')
        if name is not None:
            first.setdefault(name, file)
    return lines


def _experiment(text: str) -> str | None:
    """The name in a file; None where there is none to read, which is said when it is applied."""
    try:
        root, _ = load(text)
    except InvalidError:
        return None
    entry = root.value.get("experiment") if isinstance(root.value, dict) else None
    return entry.value if entry is not None and isinstance(entry.value, str) else None
