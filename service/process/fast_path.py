"""Libraries whose insides speed rests on: whether they are what was tested.

A module that reaches inside a library names what it needs there and the first version that was not tested, asks here,
and has another way for where the answer is no. pyproject.toml has the same bounds, so that pip installs none such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def obstacle(package: str, below: str, needed: Iterable[tuple[Any, Iterable[str]]] = ()) -> str:
    """Why the insides of an installed package are not to be used; empty where they are as tested.

    `below` is the first version not tested, `needed` are objects with the names that each must have.
    """
    try:
        found = version(package)
    except PackageNotFoundError:
        return f"{package} is not installed"
    if _release(found) >= _release(below):
        return f"{package} {found} is not a tested version; those below {below} are"
    for owner, names in needed:
        lacking = [name for name in names if not hasattr(owner, name)]
        if lacking:
            return f"{package} {found} has no {', '.join(lacking)}"
    return ""


def _release(text: str) -> tuple[int, ...]:
    """Major and minor; what comes after does not move insides."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
