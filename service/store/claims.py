"""What a claim is and how it is judged: the one obvious version. `claim.lua` says the same in the store's words.

A decision's claim remembers whether the decision was exposed and, for each metric, the running total and the digests
of the events counted so far. Both implementations share the limits and the digest; the contract suite holds
their judgements against each other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.store.contract import Aggregate, Claim, Outcome
from service.store.entries import misfit
from service.store.rows import NO_METRIC

MAX_EVENTS = 64  # distinct events of one decision and metric
MAX_CLAIMS = 2000  # claims of one call: it is one atomic step, during which the store answers nobody else
EXACT = 2**53  # at and beyond this an integer is no longer exact in Lua


def digest(event: bytes) -> bytes:
    """Eight base64url characters, the first 48 bits of blake2b: what is kept of a caller's event id."""
    return base64.urlsafe_b64encode(hashlib.blake2b(event, digest_size=6).digest())


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
    """What a claim comes to: the totals before and after, and whether it makes the decision a trial."""

    outcome: Outcome
    old: int = 0
    new: int = 0
    exposes: bool = False


@dataclass(slots=True)
class Totals:
    """All that is remembered of one decision; `totals` is metric to (total, digests)."""

    exposed: bool = False
    expires: int = 0
    totals: dict[int, tuple[int, frozenset[bytes]]] = field(default_factory=dict)

    def judge(self, claim: Claim, now: int) -> Judgement:
        """Judge one claim at store time `now` and, if it is applied, remember it."""
        if now > claim.deadline:
            return Judgement(Outcome.LATE)
        exposes = claim.deferred and not self.exposed
        if claim.metric == NO_METRIC:
            judged = Judgement(Outcome.APPLIED if exposes else Outcome.DUPLICATE, exposes=exposes)
        else:
            judged = self._reward(claim, exposes)
        if judged.outcome is Outcome.APPLIED:
            self.exposed = self.exposed or exposes
            self.expires = max(self.expires, claim.expires)
        return judged

    def _reward(self, claim: Claim, exposes: bool) -> Judgement:
        before = self.totals.get(claim.metric)
        old, events = before if before is not None else (0, frozenset[bytes]())
        key = digest(claim.event)
        if before is not None and (claim.aggregate is Aggregate.FIRST or key in events):
            return Judgement(Outcome.DUPLICATE)
        if len(events) >= MAX_EVENTS:
            return Judgement(Outcome.TOO_MANY_EVENTS)
        new = claim.value
        if claim.aggregate is Aggregate.SUM:
            new = old + claim.value
        elif claim.aggregate is Aggregate.MAX and before is not None:
            new = max(old, claim.value)
        if abs(new) > claim.limit or abs(claim.value) >= EXACT:
            return Judgement(Outcome.TOTAL_OUT_OF_RANGE)
        kept = events if claim.aggregate is Aggregate.FIRST else events | {key}
        self.totals[claim.metric] = (new, kept)
        return Judgement(Outcome.APPLIED, old, new, exposes)
