"""One key of a JSON or YAML file is changed, and nothing else in it: comments, order and blank lines stay."""

from __future__ import annotations

import json

import yaml

from service.errors import InvalidError
from service.text.document import load
from service.text.encoding import BOM

BY_HAND = "cannot be changed here without touching the rest of the file: change it there and apply it"


def with_value(text: str, key: str, value: str, after: str) -> str:
    """The text with the key at its top set to a word; a key that is missing is put behind the key `after`.

    InvalidError where the file is so written that anything else in it would change.
    """
    text = text.removeprefix(BOM)
    wanted = load(text)[0].plain() | {key: value}
    for way in (_spliced, _dumped):
        made = way(text, key, value, after)
        if made is not None and _reads_as(made, wanted):
            return made
    raise InvalidError.field(key, BY_HAND)


def _reads_as(text: str, wanted: object) -> bool:
    try:
        return bool(load(text)[0].plain() == wanted)
    except InvalidError:
        return False


def _spliced(text: str, key: str, value: str, after: str) -> str | None:
    """Cut at the marks of PyYAML, which reads most JSON too; what it made of it is judged by the caller."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    if not isinstance(root, yaml.MappingNode):
        return None
    flow = bool(root.flow_style)
    quoted = flow and '"' in text[root.start_mark.index : root.start_mark.index + 40]
    word = f'"{value}"' if quoted else value
    places = {name.value: node for name, node in root.value if isinstance(name, yaml.ScalarNode)}
    if key in places:
        found = places[key]
        return text[: found.start_mark.index] + word + text[found.end_mark.index :]
    if after not in places:
        return None
    at = places[after].end_mark.index
    name = f'"{key}"' if quoted else key
    return f"{text[:at]}{', ' if flow else chr(10)}{name}: {word}{text[at:]}"


def _dumped(text: str, key: str, value: str, after: str) -> str | None:
    """JSON has no comments: it may be written anew."""
    try:
        tree = json.loads(text)
    except ValueError:
        return None
    return json.dumps(tree | {key: value}, indent=2, ensure_ascii=False) + "\n"
