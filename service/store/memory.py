"""The store in one process's memory: for tests, examples and looking around. Everything is gone with the process."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock

from service import __version__
from service.errors import ConflictError
from service.store.claims import Judgement, Totals, check_rows, stride_of
from service.store.contract import (
    Checkpoint,
    Checkpointed,
    Claim,
    Entry,
    Held,
    Loaded,
    LostError,
    Outcome,
    Poll,
    Put,
    Seed,
)
from service.store.rows import HEAD_STRUCT
from service.store.scripts import DAY_MS, order

HISTORY = 50  # configurations kept of each experiment
_TIME = 3  # place of the time in a row's head


def _now() -> int:
    return time.time_ns() // 1_000_000


def _lost(uid: str) -> LostError:
    return LostError(f"the store does not know experiment {uid}")


@dataclass(slots=True)
class _Experiment:
    version: int
    record: bytes
    history: dict[int, bytes] = field(default_factory=dict)
    ids: list[tuple[int, int]] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)
    last: tuple[int, int] = (0, 0)
    watermarks: dict[str, tuple[int, int]] = field(default_factory=dict)
    tallies: dict[tuple[int, int, int], Totals] = field(default_factory=dict)
    swept: int = 0
    checkpoint: Checkpoint | None = None
    diverged: str | None = None
    epoch: int = 0


class MemoryStore:
    """Store and Engine in memory; one lock makes each call one step. `clock` gives milliseconds."""

    def __init__(self, clock: Callable[[], int] = _now) -> None:
        self._clock = clock
        self._lock = RLock()
        self._experiments: dict[str, _Experiment] = {}
        self._registry: dict[str, str] = {}
        self._deleted: dict[str, int] = {}
        self._secrets: dict[str, bytes] = {}

    def put(self, put: Put) -> None:
        """Store.put. An experiment that was deleted meanwhile: ConflictError."""
        with self._lock:
            if put.record is None:
                self._remove(put)
                return
            if put.seed is not None:
                self._bring_back(put, put.record, put.seed)
                return
            if put.expected == 0 and (put.uid in self._deleted or self._registry.get(put.name, put.uid) != put.uid):
                raise ConflictError(f"the name {put.name} is taken")
            found = self._experiments.get(put.uid)
            if found is not None:
                if (found.version, found.record) == (put.version, put.record):
                    return  # this very write was already made
                if found.version != put.expected:
                    raise ConflictError(f"{put.name} is at version {found.version}, not {put.expected}")
            elif put.expected != 0:
                raise ConflictError(f"{put.name} was deleted") if put.uid in self._deleted else _lost(put.uid)
            else:
                found = self._experiments[put.uid] = _Experiment(put.version, put.record)
            found.version, found.record = put.version, put.record
            found.history[put.version] = put.record
            for version in sorted(found.history)[:-HISTORY]:
                del found.history[version]
            self._add(found, Entry("", config=put.record))
            if put.expected == 0:
                self._registry[put.name] = put.uid

    def _bring_back(self, put: Put, record: bytes, seed: Seed) -> None:
        if self._registry.get(put.name, put.uid) != put.uid:
            raise ConflictError(f"the name {put.name} is taken")
        found = self._experiments.get(put.uid)
        if found is not None:
            kept = found.checkpoint.digest if found.checkpoint is not None and found.epoch else None
            if (found.version, found.record, kept) != (put.version, record, seed.checkpoint.digest):
                raise ConflictError(f"something of {put.name} is in the store already")
            return
        found = self._experiments[put.uid] = _Experiment(put.version, record, {put.version: record})
        found.epoch = max(self._clock(), seed.epoch)
        for entry in seed.entries:
            found.last = order(entry.id)
            found.ids.append(found.last)
            found.log.append(entry)
        self._add(found, Entry("", config=record, seeded=True))
        self._store(found, replace(seed.checkpoint, id=found.log[-1].id, base=None))
        self._registry[put.name] = put.uid
        self._deleted.pop(put.uid, None)

    def _remove(self, put: Put) -> None:
        found = self._experiments.get(put.uid)
        if found is None and put.uid not in self._deleted and put.expected != 0:
            raise _lost(put.uid)
        if found is not None and found.version != put.expected:
            raise ConflictError(f"{put.name} is at version {found.version}, not {put.expected}")
        self._deleted.setdefault(put.uid, self._clock())
        if self._registry.get(put.name) == put.uid:
            del self._registry[put.name]
        self._experiments.pop(put.uid, None)

    def load(self, uid: str) -> Loaded:
        """Store.load."""
        with self._lock:
            found = self._find(uid)
            history = dict(sorted(found.history.items()))
            return Loaded(found.record, found.checkpoint, history, "", found.diverged is not None, found.epoch)

    def poll(self, cursors: Mapping[str, str], limit: int = 1000) -> Poll:
        """Store.poll."""
        with self._lock:
            entries: dict[str, list[Entry]] = {}
            for uid, cursor in cursors.items():
                found = self._experiments.get(uid)
                if found is not None:
                    start = bisect_right(found.ids, order(cursor))
                    if start < len(found.log):
                        entries[uid] = found.log[start : start + limit]
            more = any(len(new) >= limit for new in entries.values())
            return Poll(self._clock(), dict(self._registry), frozenset(self._deleted), entries, more)

    def append(self, uid: str, writer: str, sequence: int, stride: int, trials: bytes, horizon: int) -> int:
        """Store.append. ValueError if `trials` is not a whole number of rows."""
        check_rows(trials, stride)
        with self._lock:
            found = self._find(uid)
            mark = found.watermarks.get(writer)
            if mark is not None and mark[0] >= sequence:
                return 0
            now = self._clock()
            rows = [trials[at : at + stride] for at in range(0, len(trials), stride)]
            oldest = max(now - horizon, found.epoch)
            kept = [row for row in rows if HEAD_STRUCT.unpack_from(row)[_TIME] >= oldest]
            if kept:
                self._add(found, Entry("", stride, trials=b"".join(kept)))
            found.watermarks[writer] = (sequence, now)
            if mark is None:
                found.watermarks = {w: m for w, m in found.watermarks.items() if m[1] >= now - DAY_MS}
            return len(rows) - len(kept)

    def claim(self, uid: str, claims: Sequence[Claim]) -> list[Outcome]:
        """Store.claim. ValueError for more than MAX_CLAIMS claims or rows of different sizes."""
        if not claims:
            return []
        stride = stride_of(claims)
        with self._lock:
            found, now = self._find(uid), self._clock()
            self._sweep(found, now)
            judged = [self._judge(found, claim, now) for claim in claims]
            applied = [(c, j) for c, j in zip(claims, judged, strict=True) if j.outcome is Outcome.APPLIED]
            if applied:
                rows = b"".join(claim.row for claim, _ in applied)
                totals = [(j.old, j.new, j.exposes) for _, j in applied]
                self._add(found, Entry("", stride, rewards=rows, totals=totals))
            late = [c.row for c, j in zip(claims, judged, strict=True) if j.outcome is Outcome.LATE]
            if late:
                self._add(found, Entry("", stride, rewards=b"".join(late), late=True))
            return [j.outcome for j in judged]

    def checkpoint(self, uid: str, checkpoint: Checkpoint) -> Checkpointed:
        """Store.checkpoint. Once two readers differed at one id, every answer is DIVERGED."""
        with self._lock:
            found = self._find(uid)
            stored, new = found.checkpoint, checkpoint
            refused = None if new.heal else self._refused(found, stored, new)
            if refused is not None:
                return refused
            at = bisect_left(found.ids, order(new.id))
            if at == len(found.ids) or found.ids[at] != order(new.id):
                return Checkpointed.STALE
            if new.heal:
                found.checkpoint = found.diverged = None
            self._store(found, new)
            return Checkpointed.STORED

    @staticmethod
    def _refused(found: _Experiment, stored: Checkpoint | None, new: Checkpoint) -> Checkpointed | None:
        if found.diverged is not None:
            return Checkpointed.DIVERGED
        if stored is not None and stored.id == new.id:
            if stored.digest == new.digest:
                return Checkpointed.SAME
            found.diverged = new.digest
            return Checkpointed.DIVERGED
        if new.base is not None and (stored is None or new.base != stored.id):
            return Checkpointed.STALE
        if stored is not None and order(stored.id) > order(new.id):
            return Checkpointed.STALE
        return None

    @staticmethod
    def _store(found: _Experiment, new: Checkpoint) -> None:
        stored = found.checkpoint
        fields = dict(stored.fields) if stored is not None and new.base is not None else {}
        for name in new.removed:
            fields.pop(name, None)
        found.checkpoint = replace(new, base=None, fields=fields | dict(new.fields), removed=(), keep=0, heal=False)
        if stored is not None:
            end = bisect_left(found.ids, min(order(stored.id), (new.keep, 0)))
            del found.ids[:end], found.log[:end]

    def _find(self, uid: str) -> _Experiment:
        found = self._experiments.get(uid)
        if found is None:
            raise _lost(uid)
        return found

    def _add(self, found: _Experiment, entry: Entry) -> None:
        now = (self._clock(), 0)
        found.last = now if now > found.last else (found.last[0], found.last[1] + 1)
        found.ids.append(found.last)
        found.log.append(replace(entry, id=f"{found.last[0]}-{found.last[1]}"))

    @staticmethod
    def _judge(found: _Experiment, claim: Claim, now: int) -> Judgement:
        if claim.time < found.epoch:
            return Judgement(Outcome.LATE)
        name = (claim.prefix, claim.counter, claim.time)
        tally = found.tallies.get(name) or Totals()
        judged = tally.judge(claim, now)
        if judged.outcome is Outcome.APPLIED:
            found.tallies[name] = tally
        return judged

    @staticmethod
    def _sweep(found: _Experiment, now: int) -> None:
        """Once an hour, forget the claims that have expired."""
        if now - found.swept > DAY_MS // 24:
            found.tallies = {name: tally for name, tally in found.tallies.items() if tally.expires >= now}
            found.swept = now

    def forget(self) -> None:
        """Lose everything, as FLUSHALL does."""
        with self._lock:
            for kept in (self._experiments, self._registry, self._deleted, self._secrets):
                kept.clear()

    def secret(self, name: str, proposal: bytes) -> bytes:
        """Engine.secret."""
        with self._lock:
            return self._secrets.setdefault(name, proposal)

    def claims(self, uid: str) -> Iterator[Held]:
        """Engine.claims."""
        with self._lock:
            found = list(self._find(uid).tallies.items())
        for (prefix, counter, decided), tally in found:
            totals = {metric: (total, len(events)) for metric, (total, events) in tally.totals.items()}
            yield Held(prefix, counter, decided // DAY_MS, tally.exposed, totals)

    def facts(self) -> Mapping[str, str]:
        """Engine.facts."""
        return {
            "engine": "memory",
            "version": __version__,
            "fsync": "none (gone with the process)",
            "eviction": "noeviction",
            "memory": f"{len(self._experiments)} experiments in this process",
        }

    def close(self) -> None:
        """Nothing to let go of."""
