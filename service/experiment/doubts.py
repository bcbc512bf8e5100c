"""What is taken and hardly meant: values that people take for one and Lever tells apart, and a context that plays no part."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from service.experiment.features.column import Value
from service.experiment.spec import FeatureSpec


def lookalikes(features: Mapping[str, FeatureSpec]) -> list[str]:
    """A sentence for each value, or name of a feature, that differs from one before it in what nobody sees or means."""
    found = [f"features: {said}" for said in _alike(features)]
    for name, feature in features.items():
        found += [f"features.{name}.values: {said}" for said in _alike(feature.values)]
    return found


def undeclared(features: Mapping[str, FeatureSpec], context: Mapping[str, Value]) -> list[str]:
    """A sentence for each feature or value that the experiment does not declare: a choice counts it and goes on."""
    return [f"{name}: {why}" for name, value in context.items() for why in _of(features, name, value)]


def _of(features: Mapping[str, FeatureSpec], name: str, value: Value) -> Iterator[str]:
    feature = features.get(name)
    if feature is None:
        yield f"the experiment declares no such feature and ignores it{_near(name, features)}"
    elif feature.type == "category" and isinstance(value, str) and value not in feature.values:
        yield f"{value!r} is none of its values and counts as unknown{_near(value, feature.values)}"
    elif feature.type == "number" and isinstance(value, float) and not feature.min <= value <= feature.max:
        yield f"{value:g} is clipped to the declared range, {feature.min:g} to {feature.max:g}"


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f'; did you mean "{close[0]}"?' if close else f"; declared: {', '.join(known) or 'none'}"


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
