"""Publishing: snapshots derived from what was folded, and the swap of what choices are made from."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

from service.learning.changes import ChangeLog
from service.learning.gauges import Gauges
from service.learning.replica import Replica
from service.serving.published import Published
from service.serving.snapshot import Snapshot

ASKED_S = 10.0  # what was asked for is brought up to date at every poll for so long


class Derived(NamedTuple):
    """A snapshot, the replica that it was derived from, and when, by the monotonic clock."""

    snapshot: Snapshot
    replica: Replica
    at: float

    def good(self, replica: Replica, now_ms: int) -> bool:
        """Whether it shows all that `replica` has folded, and no date has changed what is eligible since."""
        return self.snapshot.log_id == replica.cursor and self.fair(replica, now_ms)

    def fair(self, replica: Replica, now_ms: int) -> bool:
        """Whether all that it may lack are trials and rewards."""
        expires_ms = self.snapshot.expires_ms
        unchanged = self.replica is replica and self.snapshot.experiment is replica.experiment
        return unchanged and (expires_ms is None or now_ms < expires_ms)


class Publisher:
    """The newest snapshot of every experiment, those that the store has lost included. Used by the polling thread."""

    def __init__(self, directory: Published, gauges: Gauges) -> None:
        self._directory = directory
        self._gauges = gauges
        self._changes = ChangeLog()
        self._derived: dict[str, Derived] = {}
        self._asked: dict[str, float] = {}  # when each was last found to be asked for
        self._fresh: dict[str, Snapshot] = {}  # since the last swap
        self._swapped: set[str] | None = None  # what was lost at the last swap; None: experiments came or went since

    def __len__(self) -> int:
        return len(self._derived)

    def __iter__(self) -> Iterator[str]:
        return iter(self._derived)

    def snapshot(self, uid: str) -> Snapshot:
        """The newest one; KeyError."""
        return self._derived[uid].snapshot

    def due(self, replica: Replica, now_ms: int, *, needed: bool) -> bool:
        """Whether the last snapshot no longer shows what the replica has come to, and that is `needed` or somebody cares.

        A snapshot costs the more the more segments have news, at every poll. A process that is not asked for an
        experiment, be it the web port's or one worker of many, has no use for most of them.
        """
        last, uid = self._derived.get(replica.uid), replica.uid
        if not replica.begun or (last is not None and last.good(replica, now_ms)):
            return False
        now = time.monotonic()
        if self._directory.asked.pop(replica.experiment.name, False):
            self._asked[uid] = now
        if last is None or needed or not last.fair(replica, now_ms):
            return True
        return now - last.at >= self._directory.rest_s or now - self._asked.get(uid, -ASKED_S) < ASKED_S

    def derive(self, replica: Replica, now_ms: int) -> None:
        """Derive a snapshot."""
        first = replica.uid not in self._derived
        made = self._derived[replica.uid] = Derived(replica.snapshot(now_ms), replica, time.monotonic())
        self._fresh[replica.uid] = made.snapshot
        if first:
            self._swapped = None
        self._changes.derived(replica, first=first)
        self._gauges.derived(replica)

    def swap(self, lost: Collection[str]) -> None:
        """Choose from the newest snapshots from now on; a lost experiment gives way to one that took its name."""
        fresh, self._fresh = self._fresh, {}
        if self._swapped == set(lost):
            if fresh:
                self._directory.renew(fresh)
            return
        self._swapped = set(lost)
        last_wins = sorted(self._derived, key=lambda uid: uid not in lost)
        self._directory.publish({uid: self._derived[uid].snapshot for uid in last_wins})

    def forget(self, uid: str) -> None:
        """The experiment was deleted: nothing is chosen from it after the next swap, and its trials go."""
        self._derived.pop(uid, None)
        self._fresh.pop(uid, None)
        self._asked.pop(uid, None)
        self._swapped = None
        self._directory.buffers.pop(uid, None)
        self._changes.forget(uid)
