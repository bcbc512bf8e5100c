"""What a claim is and how it is judged: the one obvious version. `claim.lua` says the same in the store's words.

A decision's claim remembers whether the decision was exposed and, for each metric, the running total, the events counted
so far (digest and value) and the digests of those that were taken back, whether they had come or not. Both
implementations share the limits and the digest; the contract suite holds their judgements against each other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.store.contract import Act, Aggregate, Claim, Outcome
from service.store.entries import misfit
from service.store.rows import NO_METRIC, of_metric

MAX_EVENTS = 64  # distinct events of one decision and metric
MAX_CLAIMS = 2000  # claims of one call: it is one atomic step, during which the store answers nobody else
EXACT = 2**53  # at and beyond this an integer is no longer exact in Lua


def digest(event: bytes) -> bytes:
    """Eight base64url characters, the first 48 bits of blake2b: what is kept of a caller's event id."""
    return base64.urlsafe_b64encode(hashlib.blake2b(event, digest_size=6).digest()) if event else UNNAMED


UNNAMED = b"3dnEB2f5"  # of the one reward that `first` takes without an event id


def stride_of(claims: Sequence[Claim]) -> int:
    """Bytes of every row of the call. ValueError if the rows differ in size or the call is too long."""
    if len(claims) > MAX_CLAIMS:
        raise ValueError(f"{len(claims)} claims in one call, at most {MAX_CLAIMS}")
    stride = len(claims[0].row)
    if any(len(claim.row) != stride for claim in claims):
        raise ValueError("rows of one call must have one size")
    _fits(stride, stride * len(claims), rewards=True)
    return stride


def check_rows(rows: bytes, stride: int) -> None:
    """ValueError unless `rows` is a whole number of rows of `stride` bytes."""
    _fits(stride, len(rows) or stride, rewards=False)


def _fits(stride: int, size: int, *, rewards: bool) -> None:
    fault = misfit(stride, size, rewards=rewards)
    if fault:
        raise ValueError(fault)


@dataclass(slots=True)
class Judgement:
    """What a claim comes to: the totals before and after, and by how much trials change: 1, 0, or -1 for history undone.

    `moved` has number, old and new total of every composite that changed with it.
    """

    outcome: Outcome
    old: int = 0
    new: int = 0
    exposes: int = 0
    moved: Sequence[tuple[int, int, int]] = ()

    def written(self, claim: Claim) -> list[tuple[bytes, tuple[int, int, int]]]:
        """The rows of the log for it, with their totals: none where it changes nothing."""
        if self.outcome is not Outcome.APPLIED:
            return []
        own = (claim.row, (self.old, self.new, self.exposes))
        return [own, *((of_metric(claim.row, number), (old, new, 0)) for number, old, new in self.moved)]


@dataclass(slots=True)
class Record:
    """What is remembered of one decision and metric: the events that count, in their order, and those taken back."""

    total: int = 0
    counted: dict[bytes, int] = field(default_factory=dict)
    gone: list[bytes] = field(default_factory=list)

    def held(self) -> tuple[int, int, int]:
        """The total, and the least and the greatest number of rows of the log that led to it."""
        return self.total, len(self.counted) + len(self.gone), len(self.counted) + 2 * len(self.gone)

    @property
    def full(self) -> bool:
        """Whether it takes no further distinct event."""
        return len(self.counted) + len(self.gone) >= MAX_EVENTS


@dataclass(slots=True)
class Totals:
    """All that is remembered of one decision; `records` by metric."""

    exposed: bool = False
    expires: int = 0
    records: dict[int, Record] = field(default_factory=dict)

    def judge(self, claim: Claim, now: int) -> Judgement:
        """Judge one claim at store time `now` and, if it is applied, remember it."""
        if now > claim.deadline:
            return Judgement(Outcome.LATE)
        if claim.act is Act.FORGET:
            return self._forget(claim)
        exposes = int(claim.deferred and not self.exposed and claim.act is Act.COUNT)
        record = self.records.get(claim.metric) or Record()
        if claim.metric == NO_METRIC:
            judged = Judgement(Outcome.APPLIED if exposes else Outcome.DUPLICATE, exposes=exposes)
        elif claim.act is Act.RETRACT:
            judged = _retract(record, claim)
        else:
            judged = _reward(record, claim)
        if judged.outcome is Outcome.APPLIED:
            judged.exposes = exposes
            self.exposed = self.exposed or exposes == 1
            self.expires = max(self.expires, claim.expires)
            if claim.metric != NO_METRIC:
                self.records[claim.metric] = record
            judged.moved = self._moved(claim, judged.new - judged.old)
        return judged

    def _moved(self, claim: Claim, by: int) -> list[tuple[int, int, int]]:
        """What the composites came to that the claim's metric is part of, after it moved."""
        found = []
        for number, parts in claim.moves:
            new = sum(weight * self.records[part].total for part, weight in parts if part in self.records)
            old = new - dict(parts)[claim.metric] * by
            if old != new:
                found.append((number, old, new))
        return found

    def _forget(self, claim: Claim) -> Judgement:
        """Of a row of history: its trial and its reward go, and nothing is remembered of it."""
        if not self.exposed:
            return Judgement(Outcome.DUPLICATE)
        record = self.records.get(claim.metric) or Record()
        self.exposed, self.records = False, {}
        return Judgement(Outcome.APPLIED, record.total, 0, -1, self._moved(claim, -record.total))


def _reward(record: Record, claim: Claim) -> Judgement:
    key, old, first = digest(claim.event), record.total, claim.aggregate is Aggregate.FIRST
    if key in record.gone:
        return Judgement(Outcome.RETRACTED)
    if key in record.counted or (first and record.counted):
        return Judgement(Outcome.DUPLICATE)
    if record.full:
        return Judgement(Outcome.TOO_MANY_EVENTS)
    new = claim.value
    if claim.aggregate is Aggregate.SUM:
        new = _added(old, claim.value, claim.floored)
        if new == old and claim.value:
            return Judgement(Outcome.NOTHING_TO_LOWER)
    elif claim.aggregate is Aggregate.MAX and record.counted:
        new = max(old, claim.value)
    if abs(new) > claim.limit or abs(claim.value) >= EXACT:
        return Judgement(Outcome.TOTAL_OUT_OF_RANGE)
    record.total, record.counted[key] = new, claim.value
    return Judgement(Outcome.APPLIED, old, new)


def _retract(record: Record, claim: Claim) -> Judgement:
    """Take an event back, or see to it that it will not count once it comes."""
    key, old = digest(claim.event), record.total
    if key in record.gone:
        return Judgement(Outcome.DUPLICATE)
    named = [one for one in record.counted if one == key]
    if claim.aggregate is Aggregate.FIRST and UNNAMED in (key, *record.counted):
        named = list(record.counted)  # one of the two does not say which: there is but one
    if not named and record.full:
        return Judgement(Outcome.TOO_MANY_EVENTS)
    for one in named:
        del record.counted[one]
    record.gone += [one for one in named if one not in (key, UNNAMED)]
    record.gone.append(key)
    if named:
        record.total = _total(list(record.counted.values()), claim)
    return Judgement(Outcome.APPLIED, old, record.total)


def _total(values: Sequence[int], claim: Claim) -> int:
    """The total of the events that are left, as if the others had never come."""
    if claim.aggregate is Aggregate.SUM:
        total = 0
        for value in values:
            total = _added(total, value, claim.floored)
        return total
    if not values:
        return 0
    return max(values) if claim.aggregate is Aggregate.MAX else values[-1]


def _added(total: int, value: int, floored: bool) -> int:
    """A refund lowers a total of a metric without negative rewards down to 0 and no further."""
    return max(total + value, min(total, 0)) if floored and value < 0 else total + value
