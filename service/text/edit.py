"""One value of a JSON or YAML text is changed, and nothing else in it: comments, order and blank lines stay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from service.errors import InvalidError
from service.text import document, yaml_tree
from service.text.encoding import BOM

BY_HAND = "cannot be changed here without touching the rest of the file: change it there and apply it"


def with_value(text: str, key: str, value: str, after: str) -> str:
    """The text with the key at its top set to a word; a key that is missing is put behind the key `after`.

    InvalidError where the file is so written that anything else in it would change. JSON has no comments: it may be
    written anew.
    """
    text = text.removeprefix(BOM)
    wanted = _plain(text) | {key: value}
    spliced = _spliced(text, key, value, after)
    if spliced is not None and _reads_as(spliced, wanted):
        return spliced
    if _is_json(text):
        return _dumped(wanted)
    raise InvalidError.field(key, BY_HAND)


def with_entry(text: str, listed: str, ident: str, key: str, value: str) -> str:
    """The text in which the entry of this id, in the list under a key of the root, says `key: value`, both plain words.

    KeyError where there is no such entry. A text that cannot be changed in place is written anew, as JSON: what it says
    is the same. The text is one that service.text.document reads.
    """
    wanted = _plain(text)
    entry = next((one for one in wanted.get(listed, ()) if one.get("id") == ident), None)
    if entry is None:
        raise KeyError(ident)
    entry[key] = value
    with suppress(yaml.YAMLError, InvalidError, LookupError, AttributeError):
        changed = _in_place(text, listed, ident, key, value)
        if _reads_as(changed, wanted):
            return changed
    return _dumped(wanted)


def _plain(text: str) -> Any:
    return document.load(text)[0].plain()


def _reads_as(text: str, wanted: object) -> bool:
    with suppress(InvalidError):
        return bool(_plain(text) == wanted)
    return False


def _is_json(text: str) -> bool:
    with suppress(ValueError):
        json.loads(text)
        return True
    return False


def _dumped(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


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
        return _replaced(text, places[key], word)
    if after not in places:
        return None
    at = places[after].end_mark.index
    name = f'"{key}"' if quoted else key
    return f"{text[:at]}{', ' if flow else chr(10)}{name}: {word}{text[at:]}"


def _in_place(text: str, listed: str, ident: str, key: str, value: str) -> str:
    root = yaml_tree.compose(text)
    entries = next(found.value for name, found in root.value if name.value == listed)
    entry = next(one for one in entries if any(k.value == "id" and v.value == ident for k, v in one.value))
    for name, found in entry.value:
        if name.value == key:
            return _replaced(text, found, f'"{value}"')
    first = entry.value[0][0].start_mark
    between = f'"{key}": "{value}", ' if entry.flow_style else f"{key}: {value}\n{' ' * first.column}"
    return text[: first.index] + between + text[first.index :]


def _replaced(text: str, node: yaml.Node, word: str) -> str:
    return text[: node.start_mark.index] + word + text[node.end_mark.index :]
