"""The journal of what people did, in memory and in one stream of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock

from service.store.contract import Event
from service.store.scripts import Keys, pairs
from service.store.wire.wire import Wire

ONCE_S = 60
EVENTS = 100_000  # about so many are kept
_PAGE = 1000


class MemoryJournal:
    """Journal in memory; `clock` gives milliseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._events: list[Event] = []
        self._once: dict[str, int] = {}

    def note(self, event: Event, once: str = "") -> None:
        """Journal.note. All are kept."""
        with self._lock:
            now = self._clock()
            if once:
                if now < self._once.get(once, now):
                    return
                self._once[once] = now + ONCE_S * 1000
            self._events.append(replace(event, at_ms=now))

    def events(self, experiment: str = "", limit: int = 1000) -> list[Event]:
        """Journal.events."""
        with self._lock:
            found = [event for event in reversed(self._events) if experiment in ("", event.experiment)]
        return found[:limit]


class RedisJournal:
    """Journal in one stream."""

    def __init__(self, wire: Callable[[], Wire], keys: Keys) -> None:
        self._wired = wire
        self._keys = keys

    def note(self, event: Event, once: str = "") -> None:
        """Journal.note. A server that dies between the two calls keeps nothing, which is better than twice."""
        if once and self._wired().ask(("SET", self._keys.once(once), 1, "NX", "EX", ONCE_S))[0] is None:
            return
        said = {"what": event.what, "by": event.by, "detail": event.detail}
        about = {"experiment": event.experiment, "version": event.version}
        fields = [part for pair in (said | about).items() for part in pair]
        self._wired().ask(("XADD", self._keys.journal, "MAXLEN", "~", EVENTS, "*", *fields))

    def events(self, experiment: str = "", limit: int = 1000) -> list[Event]:
        """Journal.events."""
        found: list[Event] = []
        newest = "+"
        while len(found) < limit:
            (page,) = self._wired().ask(("XREVRANGE", self._keys.journal, newest, "-", "COUNT", _PAGE))
            events = [_event(name, dict(pairs(fields))) for name, fields in page]
            found += [event for event in events if experiment in ("", event.experiment)]
            if len(page) < _PAGE:
                break
            newest = _before(page[-1][0])
        return found[:limit]


def _event(name: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """An entry as it is kept. Fields that a later version adds are passed over."""
    said = {key.decode(): value.decode("utf-8", "replace") for key, value in fields.items()}
    at_ms, version = int(name.split(b"-")[0]), int(said.get("version", 0))
    return Event(
        said.get("what", ""), said.get("by", ""), said.get("experiment", ""), version, said.get("detail", ""), at_ms
    )


def _before(name: bytes) -> str:
    """The highest stream id below `name`."""
    time, _, sequence = name.decode().partition("-")
    return f"{time}-{int(sequence) - 1}" if int(sequence) > 0 else f"{int(time) - 1}-18446744073709551615"
