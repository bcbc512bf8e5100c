"""The store in one process's memory: for tests, examples and looking around. Everything is gone with the process."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock

from service import __version__
from service.errors import ConflictError, CorruptError, UnavailableError
from service.store.claims import Judgement, Totals, check_rows, stride_of
from service.store.contract import (
    START,
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
from service.store.entries import beyond, decode, encode
from service.store.journal import MemoryJournal
from service.store.rows import HEAD_STRUCT, TIME
from service.store.scripts import DAY_MS, order

HISTORY = 50  # configurations kept of each experiment


def _now() -> int:
    return time.time_ns() // 1_000_000


def _id(at: tuple[int, int]) -> str:
    return f"{at[0]}-{at[1]}"


@dataclass(slots=True)
class _Experiment:
    version: int
    record: bytes
    history: dict[int, bytes] = field(default_factory=dict)
    ids: list[tuple[int, int]] = field(default_factory=list)
    log: list[dict[bytes, bytes]] = field(default_factory=list)  # fields, as a stream has them
    last: tuple[int, int] = (0, 0)
    watermarks: dict[str, tuple[int, int]] = field(default_factory=dict)
    decisions: dict[tuple[int, int, int], Totals] = field(default_factory=dict)
    swept: int = 0
    checkpoint: Checkpoint | None = None
    diverged: str | None = None
    epoch: int = 0
    needs: tuple[int, int] = (0, 0)  # the last entry that needs what the log had before it


class MemoryStore:
    """Store and Engine in memory; one lock makes each call one step. `clock` gives milliseconds."""

    def __init__(self, clock: Callable[[], int] = _now) -> None:
        self._clock = clock
        self._lock = RLock()
        self._experiments: dict[str, _Experiment] = {}
        self._registry: dict[str, str] = {}
        self._deleted: dict[str, int] = {}
        self._secrets: dict[str, bytes] = {}
        self._words: dict[str, tuple[int, bytes]] = {}
        self.journal = MemoryJournal(clock)

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
            experiment = self._experiments.get(put.uid)
            if experiment is not None:
                if (experiment.version, experiment.record) == (put.version, put.record):
                    return  # this very write was already made
                if experiment.version != put.expected or (put.since and experiment.ids[0] > order(put.since)):
                    raise ConflictError(f"{put.name} is at version {experiment.version}, not {put.expected}")
            elif put.expected != 0:
                raise ConflictError(f"{put.name} was deleted") if put.uid in self._deleted else LostError.of(put.uid)
            else:
                experiment = self._experiments[put.uid] = _Experiment(put.version, put.record)
            experiment.version, experiment.record = put.version, put.record
            experiment.history[put.version] = put.record
            for version in sorted(experiment.history)[:-HISTORY]:
                del experiment.history[version]
            self._add(experiment, Entry("", config=put.record))
            experiment.needs = experiment.last if put.since else experiment.needs
            if put.expected == 0:
                self._registry[put.name] = put.uid

    def _bring_back(self, put: Put, record: bytes, seed: Seed) -> None:
        if self._registry.get(put.name, put.uid) != put.uid:
            raise ConflictError(f"the name {put.name} is taken")
        experiment = self._experiments.get(put.uid)
        if experiment is not None:
            kept = experiment.checkpoint.digest if experiment.checkpoint is not None and experiment.epoch else None
            if (experiment.version, experiment.record, kept) != (put.version, record, seed.checkpoint.digest):
                raise ConflictError(f"something of {put.name} is in the store already")
            return
        experiment = self._experiments[put.uid] = _Experiment(put.version, record, {put.version: record})
        experiment.epoch = max(self._clock(), seed.epoch)
        for entry in seed.entries:
            experiment.last = order(entry.id)
            experiment.ids.append(experiment.last)
            experiment.log.append(encode(entry))
        self._add(experiment, Entry("", config=record, seeded=True))
        self._store(experiment, replace(seed.checkpoint, id=_id(experiment.last), base=None))
        self._registry[put.name] = put.uid
        self._deleted.pop(put.uid, None)

    def _remove(self, put: Put) -> None:
        experiment = self._experiments.get(put.uid)
        if experiment is None and put.uid not in self._deleted and put.expected != 0:
            raise LostError.of(put.uid)
        if experiment is not None and experiment.version != put.expected:
            raise ConflictError(f"{put.name} is at version {experiment.version}, not {put.expected}")
        self._deleted.setdefault(put.uid, self._clock())
        if self._registry.get(put.name) == put.uid:
            del self._registry[put.name]
        self._experiments.pop(put.uid, None)

    def load(self, uid: str) -> Loaded:
        """Store.load."""
        with self._lock:
            experiment = self._find(uid)
            history = dict(sorted(experiment.history.items()))
            return Loaded(
                experiment.record, experiment.checkpoint, history, "", experiment.diverged is not None, experiment.epoch
            )

    def poll(self, cursors: Mapping[str, str], limit: int = 1000, *, listed: bool = True) -> Poll:
        """Store.poll."""
        with self._lock:
            entries: dict[str, list[Entry]] = {}
            damaged: dict[str, str] = {}
            rewound = set()
            for uid, cursor in cursors.items():
                experiment = self._experiments.get(uid)
                if experiment is not None:
                    start = bisect_right(experiment.ids, order(cursor))
                    new = slice(start, start + limit)
                    try:
                        found = [
                            decode(_id(at), fields)
                            for at, fields in zip(experiment.ids[new], experiment.log[new], strict=True)
                        ]
                    except CorruptError as error:
                        damaged[uid] = str(error)
                    else:
                        entries |= {uid: found} if found else {}
                        if found and cursor != START and order(cursor) not in experiment.ids[start - 1 : start]:
                            rewound.add(uid)
            more = any(len(new) >= limit for new in entries.values())
            return Poll(self._clock(), dict(self._registry), entries, more, damaged=damaged, rewound=frozenset(rewound))

    def deleted(self, uids: Collection[str]) -> frozenset[str]:
        """Store.deleted. All are remembered: the process will not live for 30 days."""
        with self._lock:
            return frozenset(uid for uid in uids if uid in self._deleted)

    def append(self, uid: str, writer: str, sequence: int, stride: int, trials: bytes, horizon: int) -> int:
        """Store.append. ValueError if `trials` is not a whole number of rows."""
        check_rows(trials, stride)
        with self._lock:
            experiment = self._find(uid)
            mark = experiment.watermarks.get(writer)
            if mark is not None and mark[0] >= sequence:
                return 0
            now = self._clock()
            rows = [trials[at : at + stride] for at in range(0, len(trials), stride)]
            oldest = max(now - horizon, experiment.epoch)
            kept = [row for row in rows if HEAD_STRUCT.unpack_from(row)[TIME] >= oldest]
            if kept:
                self._add(experiment, Entry("", stride, trials=b"".join(kept)))
            experiment.watermarks[writer] = (sequence, now)
            if mark is None:
                experiment.watermarks = {w: m for w, m in experiment.watermarks.items() if m[1] >= now - DAY_MS}
            return len(rows) - len(kept)

    def claim(self, uid: str, claims: Sequence[Claim]) -> list[Outcome]:
        """Store.claim. ValueError for more than MAX_CLAIMS claims or rows of different sizes."""
        if not claims:
            return []
        stride = stride_of(claims)
        with self._lock:
            experiment, now = self._find(uid), self._clock()
            self._sweep(experiment, now)
            judged = [self._judge(experiment, claim, now) for claim in claims]
            written = [line for claim, one in zip(claims, judged, strict=True) for line in one.written(claim)]
            if written:
                rows, totals = zip(*written, strict=True)
                self._add(experiment, Entry("", stride, rewards=b"".join(rows), totals=totals))
            late = [c.row for c, j in zip(claims, judged, strict=True) if j.outcome is Outcome.LATE]
            if late:
                self._add(experiment, Entry("", stride, rewards=b"".join(late), late=True))
            return [j.outcome for j in judged]

    def remember(self, word: str, proposal: bytes, expires: int) -> bytes:
        """Store.remember."""
        with self._lock:
            if self._words.get(word, (-1, b""))[0] < self._clock():
                self._words[word] = (expires, proposal)
            return self._words[word][1]

    def claim_each(self, calls: Sequence[tuple[str, Sequence[Claim]]]) -> list[list[Outcome] | UnavailableError]:
        """Store.claim_each."""
        answers: list[list[Outcome] | UnavailableError] = []
        for uid, claims in calls:
            try:
                answers.append(self.claim(uid, claims))
            except UnavailableError as error:
                answers.append(error)
        return answers

    def checkpoint(self, uid: str, checkpoint: Checkpoint) -> Checkpointed:
        """Store.checkpoint. Once two readers differed at one id, every answer is DIVERGED."""
        with self._lock:
            experiment = self._find(uid)
            stored, new = experiment.checkpoint, checkpoint
            if not new.heal and (refused := self._refused(experiment, stored, new)) is not None:
                return refused
            at = bisect_left(experiment.ids, order(new.id))
            if at == len(experiment.ids) or experiment.ids[at] != order(new.id):
                return Checkpointed.STALE
            if new.heal:
                experiment.checkpoint = experiment.diverged = None
            self._store(experiment, new)
            return Checkpointed.STORED

    @staticmethod
    def _refused(experiment: _Experiment, stored: Checkpoint | None, new: Checkpoint) -> Checkpointed | None:
        if experiment.diverged is not None:
            return Checkpointed.DIVERGED
        if stored is not None and stored.id == new.id:
            if stored.digest == new.digest:
                return Checkpointed.SAME
            experiment.diverged = new.digest
            return Checkpointed.DIVERGED
        other = new.base is not None and (stored is None or new.base != stored.id)
        return Checkpointed.STALE if other or (stored is not None and order(stored.id) > order(new.id)) else None

    @staticmethod
    def _store(experiment: _Experiment, new: Checkpoint) -> None:
        stored = experiment.checkpoint
        old = stored.fields if stored is not None and new.base is not None else {}
        fields = {name: value for name, value in old.items() if name not in new.removed}
        experiment.checkpoint = replace(
            new, base=None, fields=fields | dict(new.fields), removed=(), keep=0, most=0, heal=False
        )
        if stored is not None and order(new.id) >= experiment.needs:
            gone = max(bisect_left(experiment.ids, (new.keep, 0)), beyond(experiment.log, new.most))
            end = min(gone, bisect_left(experiment.ids, order(stored.id)))
            del experiment.ids[:end], experiment.log[:end]

    def _find(self, uid: str) -> _Experiment:
        experiment = self._experiments.get(uid)
        if experiment is None:
            raise LostError.of(uid)
        return experiment

    def _add(self, experiment: _Experiment, entry: Entry) -> None:
        now = (self._clock(), 0)
        experiment.last = now if now > experiment.last else (experiment.last[0], experiment.last[1] + 1)
        experiment.ids.append(experiment.last)
        experiment.log.append(encode(entry))

    @staticmethod
    def _judge(experiment: _Experiment, claim: Claim, now: int) -> Judgement:
        if claim.time < experiment.epoch:
            return Judgement(Outcome.LATE)
        name = (claim.prefix, claim.counter, claim.time)
        decision = experiment.decisions.get(name) or Totals()
        judged = decision.judge(claim, now)
        if judged.outcome is Outcome.APPLIED:
            experiment.decisions[name] = decision
            if not decision.exposed and not decision.records:  # history that was forgotten
                del experiment.decisions[name]
        return judged

    @staticmethod
    def _sweep(experiment: _Experiment, now: int) -> None:
        """Once an hour, forget the claims that have expired."""
        if now - experiment.swept > DAY_MS // 24:
            experiment.decisions = {
                name: decision for name, decision in experiment.decisions.items() if decision.expires >= now
            }
            experiment.swept = now

    def forget(self) -> None:
        """Lose everything, as FLUSHALL does."""
        with self._lock:
            for kept in (self._experiments, self._registry, self._deleted, self._secrets, self._words):
                kept.clear()

    def versions(self, uid: str) -> Mapping[int, bytes]:
        """Store.versions."""
        with self._lock:
            experiment = self._experiments.get(uid)
            return dict(sorted(experiment.history.items())) if experiment is not None else {}

    def secret(self, name: str, proposal: bytes) -> bytes:
        """Engine.secret."""
        with self._lock:
            return self._secrets.setdefault(name, proposal)

    def agree(self, name: str, marks: Sequence[str]) -> bool:
        """Engine.agree."""
        with self._lock:
            kept = self._secrets.setdefault(name, ",".join(marks).encode())
            if set(kept.decode().split(",")).isdisjoint(marks):
                return False
            self._secrets[name] = ",".join(marks).encode()
            return True

    def claims(self, uid: str) -> Iterator[Held]:
        """Engine.claims."""
        with self._lock:
            decisions = list(self._find(uid).decisions.items())
        for (prefix, counter, decided), decision in decisions:
            totals = {metric: record.held() for metric, record in decision.records.items()}
            yield Held(prefix, counter, decided // DAY_MS, decision.exposed, totals)

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
