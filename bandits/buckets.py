"""Time buckets: where in time a row's sums are kept. Pure integer rules over milliseconds.

A bucket is [start, start + width); widths are powers of two and starts are multiples of them, so buckets nest.
New ones are opened at the fine width; an aligned pair merges once it is closed (no reward can reach it any more)
and old enough, so that there are at most about four buckets per octave of age. Nothing depends on how often the
rules are applied: merging at every row or once at the end gives the same buckets and the same sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Bucket(NamedTuple):
    """Half-open interval of decision time, milliseconds."""

    start: int
    width: int

    @property
    def end(self) -> int:
        """First millisecond after the bucket."""
        return self.start + self.width


def fine_width(horizon_ms: int) -> int:
    """Width of a newly opened bucket: a sixteenth of window + grace, rounded down to a power of two, at least 1."""
    return 1 << max(horizon_ms // 16, 1).bit_length() - 1


def containing(time_ms: int, width: int) -> Bucket:
    """The aligned bucket of this width that contains the time."""
    return Bucket(time_ms - time_ms % width, width)


def ripe(parent: Bucket, now_ms: int, horizon_ms: int) -> bool:
    """Whether the two halves of `parent` should be one: closed, and its end more than two of its widths further back.

    (The halves are of width u, the parent of 2u; the rule says 4u.)
    """
    return parent.end + horizon_ms + 2 * parent.width < now_ms


def settle(buckets: Sequence[Bucket], now_ms: int, horizon_ms: int) -> list[Bucket]:
    """The buckets after every merge that is due at `now_ms`, sorted. Each old bucket lies inside exactly one new one.

    Where a wide bucket was opened over narrower ones, it takes them in.
    """
    current = _absorb(sorted(set(buckets)))
    while True:
        grown = [_grow(b, now_ms, horizon_ms) for b in current]
        merged = _absorb(sorted(set(grown)))
        if merged == current:
            return current
        current = merged


def _grow(bucket: Bucket, now_ms: int, horizon_ms: int) -> Bucket:
    parent = containing(bucket.start, 2 * bucket.width)
    return parent if ripe(parent, now_ms, horizon_ms) else bucket


def _absorb(buckets: Sequence[Bucket]) -> list[Bucket]:
    """Drop every bucket that lies inside another; aligned powers of two never overlap otherwise."""
    kept: list[Bucket] = []
    for bucket in buckets:  # sorted by start, then width: of equal starts the widest comes last
        while kept and kept[-1].start == bucket.start:
            kept.pop()
        if not kept or kept[-1].end <= bucket.start:
            kept.append(bucket)
    return kept


def next_settle(buckets: Sequence[Bucket], horizon_ms: int) -> int:
    """The earliest time at which `settle` would change these (settled) buckets; a far future if there are none."""
    due = [2**62]
    for bucket in buckets:
        parent = containing(bucket.start, 2 * bucket.width)
        due.append(parent.end + horizon_ms + 2 * parent.width + 1)
    return min(due)
