"""Files of experiments: which of a folder are some, and that none is there twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from service.errors import InvalidError
from service.text.yaml_tree import load

SUFFIXES = (".yaml", ".yml", ".json")


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and those of folders by name; each once."""
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
        name = _name(text)
        if name is None:
            continue
        if name in first:
            lines.append(f'{file}: experiment: "{name}" is in {first[name]} already')
        first.setdefault(name, file)
    return lines


def _name(text: str) -> str | None:
    """The name in a file; None where there is none to read, which is said when it is applied."""
    try:
        root, _ = load(text)
    except InvalidError:
        return None
    entry = root.value.get("experiment") if isinstance(root.value, dict) else None
    return entry.value if entry is not None and isinstance(entry.value, str) else None
