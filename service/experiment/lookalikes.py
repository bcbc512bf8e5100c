"""Values of a category that people take for one and Lever tells apart: each would learn for itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from service.experiment.spec import FeatureSpec


def lookalikes(features: Mapping[str, FeatureSpec]) -> list[str]:
    """A sentence for each value, or name of a feature, that differs from one before it in what nobody sees or means."""
    found = [f"features: {said}" for said in _alike(features)]
    for name, feature in features.items():
        found += [f"features.{name}.values: {said}" for said in _alike(feature.values)]
    return found


def plain(text: str) -> str:
    """The text without what tells it from its like: case, spaces, composition, width, characters without a width."""
    shown = "".join(
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace()
    )
    return " ".join(unicodedata.normalize("NFKC", shown.casefold()).split())


def _alike(texts: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    said = []
    for text in texts:
        other = first.setdefault(plain(text), text)
        if other != text:
            said.append(f"{other!a} and {text!a} are told apart, though they differ only {_in_what(other, text)}")
    return said


def _in_what(one: str, other: str) -> str:
    if one.casefold() == other.casefold():
        return "in upper and lower case"
    if one.split() == other.split():
        return "in spaces"
    if unicodedata.normalize("NFKC", one) == unicodedata.normalize("NFKC", other):
        return "in how their characters are composed (NFC, NFD)"
    return "in case, spaces or characters that are not seen"
