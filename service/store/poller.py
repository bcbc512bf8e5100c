"""What is new in every log, the registry and the time: one round trip, to all engines of the store at once.

Only entry ids and rows count for what is learned; the time is for clocks that tell the age of things. In a cluster it
is that of the primary that has the registry, and goes on by our own clock while that is away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from threading import Lock
from typing import Any, Protocol

import redis

from service.errors import CorruptError, UnavailableError
from service.store.contract import NOWHERE, START, Entry, PartAwayError, Poll
from service.store.entries import decode
from service.store.scripts import Keys, Script, pairs, registry_of
from service.store.wire.errors import ELSEWHERE, IN_BETWEEN, checked, unavailable
from service.store.wire.exchange import Command, Packed
from service.store.wire.line import Answer, Reads, ask_all
from service.store.wire.link import Lines, Ways
from service.store.wire.watch import Watch

_SPOILT = ("WRONGTYPE", "Invalid stream ID")  # what an engine says of a single stream, without its ERR
_PARTED = (*ELSEWHERE, *IN_BETWEEN)


class Linked(Protocol):
    """What gives the ways to a store."""

    def ways(self) -> Ways:
        """UnavailableError while nobody answers."""


@dataclass(slots=True)
class _Question:
    """What one engine is asked."""

    watching: Sequence[tuple[str, str]]
    registry: bool
    groups: Sequence[Sequence[str]]

    def commands(self, keys: Keys, read: Callable[[Sequence[str]], Command]) -> list[Command]:
        asked: list[Command] = [("TIME",), *self.watching]
        if self.registry:
            asked.append(("HGETALL", keys.names))
        return [*asked, *map(read, self.groups)]


class _Sessions(dict[str, int]):
    """Sessions by uid: of those that were asked for, and of any other where it lies."""

    def __init__(self, of: Callable[[str], int]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, uid: str) -> int:
        return self._of(uid)


@dataclass(slots=True)
class _Found:
    """What came together of one poll."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    sessions: dict[str, int] = field(default_factory=dict)
    numbers: dict[Reads | None, int] = field(default_factory=dict)
    lines: dict[str, Reads] = field(default_factory=dict)  # by uid, of those with entries
    failed: dict[Reads, UnavailableError] = field(default_factory=dict)


class Poller:
    """The polls of one store. One at a time."""

    def __init__(self, link: Linked, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._has = Script.load("has")
        self._lock = Lock()
        self._watches: dict[Reads, Watch] = {}
        self._registry: tuple[dict[str, str], dict[str, str]] | None = None  # as it was read last, and what is damaged
        self._names: Any = None  # the reply that this was made from
        self._asked: dict[
            str, tuple[list[str], Packed]
        ] = {}  # by the first uid of a group: where it was read from, and how
        self._eviction = ""  # the worst policy among all engines
        self._ahead_ms = 0  # the store's clock before our monotonic one

    def poll(self, cursors: Mapping[str, str], limit: int, *, listed: bool) -> Poll:
        """Store.poll."""
        with self._lock:
            return self._poll(self._link.ways().lines, cursors, limit, listed or self._registry is None)

    def _poll(self, lines: Lines, cursors: Mapping[str, str], limit: int, listed: bool) -> Poll:
        placed, nowhere = lines.placed({uid: self._keys.log(uid) for uid in cursors})
        first = lines.at(self._keys.names)
        others = [*([first] if first else ()), *lines.all()] if listed else ()
        questions = {
            line: _Question(self._watch(line).commands(), listed and line is first, placed.get(line, ()))
            for line in dict.fromkeys([*others, *placed])
        }
        read = self._reading(cursors, limit)
        answers = ask_all({line: one.commands(self._keys, read) for line, one in questions.items()})
        found, session = _Found(away=set(nowhere)), 0
        if lines.parted:
            found.sessions = _Sessions(lambda uid: found.numbers.get(lines.at(self._keys.log(uid)), NOWHERE))
            found.sessions.update(dict.fromkeys(nowhere, NOWHERE))
        for line, answer in answers.items():
            try:
                number = found.numbers[line] = self._heard(line, questions[line], answer, cursors, limit, found)
                session = 0 if lines.parted else number
            except UnavailableError as error:
                found.failed[line] = error
                found.away.update(uid for group in questions[line].groups for uid in group)
        registry, wrong = self._listed(lines, first, questions, found, listed)
        rewound = self._rewound(found, cursors)
        if listed:
            self._eviction = max((self._watch(line).eviction for line in questions), key=_evicts, default="")
        return Poll(
            now=_monotonic_ms() + self._ahead_ms,
            registry=registry,
            entries=found.entries,
            more=any(len(entries) >= limit for entries in found.entries.values()),
            session=session,
            damaged=wrong | found.damaged,
            rewound=rewound,
            eviction=self._eviction,
            sessions=found.sessions if lines.parted else None,
            away=frozenset(found.away),
        )

    def _reading(self, cursors: Mapping[str, str], limit: int) -> Callable[[Sequence[str]], Command]:
        """What asks for a group. Most logs have nothing new from one poll to the next: then it is what was asked before."""
        if len(self._asked) > 2 * max(len(cursors), len(self._registry[0]) if self._registry else 0):
            self._asked.clear()

        def read(group: Sequence[str]) -> Command:
            where = [str(limit), *(part for uid in group for part in (uid, cursors[uid]))]
            known = self._asked.get(group[0])
            if known is None or known[0] != where:
                known = where, Packed.of(*_read(self._keys, {uid: cursors[uid] for uid in group}, limit))
                self._asked[group[0]] = known
            return known[1]

        return read

    def _listed(
        self, lines: Lines, first: Reads | None, asked: Mapping[Reads, _Question], found: _Found, listed: bool
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The registry, as it was read now or last. UnavailableError if nobody answered, or it was never read.

        Where only some experiments were asked for, that their part is away is not that nobody answers.
        """
        if found.failed or found.away or first is None:
            lines.refused()
        nobody = len(found.failed) == len(asked) and (listed or not lines.parted)
        if nobody or self._registry is None:
            away = PartAwayError("store: no primary answers that has what was asked for")
            raise next((found.failed[line] for line in (first, *asked) if line in found.failed), away)
        return self._registry

    def _watch(self, line: Reads) -> Watch:
        return self._watches.setdefault(line, Watch())

    def _heard(
        self, line: Reads, question: _Question, answer: Answer | UnavailableError,
        cursors: Mapping[str, str], limit: int, found: _Found,
    ) -> int:  # fmt: skip
        """Take over what an engine says; the number of its session. UnavailableError if that is nothing of use."""
        if isinstance(answer, UnavailableError):
            raise answer
        number, (clock, *rest) = answer
        watch, watched = self._watch(line), len(question.watching)
        said, rest = rest[:watched], rest[watched:]
        names = rest.pop(0) if question.registry else None
        try:
            checked([clock, names])
        except redis.RedisError as error:
            raise unavailable(error) from error
        if watched:
            watch.hear(said)
        if question.registry:
            if names != self._names or self._registry is None:
                self._names, self._registry = names, registry_of(names)
            self._ahead_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000 - _monotonic_ms()
        found.sessions.update(dict.fromkeys(chain.from_iterable(question.groups), number + watch.changes))
        for group, reply in zip(question.groups, rest, strict=True):
            if reply:
                found.lines.update(dict.fromkeys(group, line))
                self._take({uid: cursors[uid] for uid in group}, reply, limit, found)
        return number + watch.changes

    def _take(self, cursors: Mapping[str, str], reply: Any, limit: int, found: _Found) -> None:
        """What XREAD brought. One key or cursor that is none spoils the answer for all: then each is asked."""
        if isinstance(reply, _PARTED):
            found.away.update(cursors)
        elif not isinstance(reply, redis.RedisError):
            self._decode(cursors, reply, found)
        elif not str(reply).startswith(_SPOILT):
            raise unavailable(reply) from reply
        else:
            asked = {uid: _read(self._keys, {uid: at}, limit) for uid, at in cursors.items()}
            for uid, one in self._each(asked, found).items():
                if isinstance(one, redis.RedisError):
                    found.damaged[uid] = str(one)
                else:
                    self._decode({uid: ""}, one, found)

    def _decode(self, cursors: Mapping[str, str], reply: Any, found: _Found) -> None:
        if not reply:
            return
        uids = {self._keys.log(uid).encode(): uid for uid in cursors}
        for log, entries in pairs(reply):
            try:
                found.entries[uids[log]] = [decode(name, dict(pairs(fields))) for name, fields in entries]
            except CorruptError as error:
                found.damaged[uids[log]] = str(error)

    def _rewound(self, found: _Found, cursors: Mapping[str, str]) -> frozenset[str]:
        """Those whose log has no entry at the cursor."""
        new = {uid: cursors[uid] for uid in found.entries if cursors[uid] != START}
        asked = {uid: ("EVAL", self._has.text, 1, self._keys.log(uid), at) for uid, at in new.items()}
        return frozenset(uid for uid, has in self._each(asked, found).items() if has == 0)

    def _each(self, asked: Mapping[str, Command], found: _Found) -> dict[str, Any]:
        """The reply to one more question about each. What a part of the store does not answer is left out."""
        by_line: dict[Reads, list[str]] = {}
        for uid in asked:
            by_line.setdefault(found.lines[uid], []).append(uid)
        replies: dict[str, Any] = {}
        for line, answer in ask_all({line: [asked[uid] for uid in uids] for line, uids in by_line.items()}).items():
            if isinstance(answer, PartAwayError):  # what came before is not to be added without this answer
                found.away.update(by_line[line])
                for uid in by_line[line]:
                    found.entries.pop(uid, None)
            elif isinstance(answer, UnavailableError):
                raise answer
            else:
                replies |= zip(by_line[line], answer[1], strict=True)
        return replies


def _read(keys: Keys, cursors: Mapping[str, str], limit: int) -> Command:
    return ("XREAD", "COUNT", limit, "STREAMS", *map(keys.log, cursors), *cursors.values())


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _evicts(policy: str) -> bool:
    return policy not in ("", "noeviction")
