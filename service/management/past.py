"""What was done to experiments: the journal's events, with the configurations that were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from service.errors import CorruptError
from service.store.contract import Event

CREATED = "created"
CHANGED = "updated"
_NEAR_MS = 10_000  # an event is noted right after its configuration is written


class Written(msgspec.Struct, frozen=True):
    """What a Record says of itself; read without compiling it."""

    version: int
    applied_at_ms: int
    text: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """An event; with the text of the configuration that it wrote, where that is kept."""

    event: Event
    text: str = ""


def history(events: Sequence[Event], versions: Mapping[int, bytes], name: str) -> list[Past]:
    """Events (newest first) and stored configurations of one experiment, in one list, the newest first.

    A configuration whose event is missing (a server died between the two) gets one from what it says itself. An event
    of the same version of an earlier experiment of this name gets no text.
    """
    kept = {version: written(record) for version, record in versions.items()}
    texts = {version: found.text for version, found in kept.items()}
    out = []
    for event in events:
        found = kept.get(event.version)
        its = found is not None and abs(found.applied_at_ms - event.at_ms) <= _NEAR_MS
        out.append(Past(event, texts.pop(event.version, "") if its else ""))
    for version, text in texts.items():
        found = kept[version]
        what = CREATED if version == 1 else CHANGED
        out.append(Past(Event(what, found.by, name, version, at_ms=found.applied_at_ms), text))
    return sorted(out, key=lambda past: past.event.at_ms, reverse=True)


def written(record: bytes) -> Written:
    """When and by whom a record was written, and its text. CorruptError if it does not decode."""
    try:
        return msgspec.json.decode(record, type=Written)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptError(f"an experiment's record does not decode: {error}") from error
