"""Changing one value of a YAML or JSON text and nothing else: comments, order and layout stay as somebody wrote them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import yaml

from service.errors import InvalidError
from service.text import document, yaml_tree


def with_text(text: str, listed: str, ident: str, key: str, value: str) -> str:
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
        if _plain(changed) == wanted:
            return changed
    return json.dumps(wanted, indent=2) + "\n"


def _plain(text: str) -> Any:
    return document.load(text)[0].plain()


def _in_place(text: str, listed: str, ident: str, key: str, value: str) -> str:
    root = yaml_tree.compose(text)
    entries = next(found.value for name, found in root.value if name.value == listed)
    entry = next(one for one in entries if any(k.value == "id" and v.value == ident for k, v in one.value))
    for name, found in entry.value:
        if name.value == key:
            return f'{text[: found.start_mark.index]}"{value}"{text[found.end_mark.index :]}'
    first = entry.value[0][0].start_mark
    between = f'"{key}": "{value}", ' if entry.flow_style else f"{key}: {value}\n{' ' * first.column}"
    return text[: first.index] + between + text[first.index :]
