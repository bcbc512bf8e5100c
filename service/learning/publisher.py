"""Publishing: snapshots derived from what was folded, and the swap of what choices are made from."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple

from service.learning.changes import ChangeLog
from service.learning.gauges import Gauges
from service.learning.replica import Replica
from service.serving.published import Published
from service.serving.snapshot import Snapshot
from service.serving.store_clock import StoreClock


class Derived(NamedTuple):
    """A snapshot, and the replica that it was derived from."""

    snapshot: Snapshot
    replica: Replica

    def good(self, replica: Replica, now_ms: int) -> bool:
        """Whether it shows all that `replica` has folded, and no date has changed what is eligible since."""
        expires_ms = self.snapshot.expires_ms
        unchanged = self.replica is replica and self.snapshot.log_id == replica.cursor
        return unchanged and (expires_ms is None or now_ms < expires_ms)


class Publisher:
    """The newest snapshot of every experiment, those that the store has lost included. Used by the polling thread."""

    def __init__(self, directory: Published, clock: StoreClock, gauges: Gauges) -> None:
        self._directory = directory
        self._clock = clock
        self._gauges = gauges
        self._changes = ChangeLog()
        self._derived: dict[str, Derived] = {}

    def __len__(self) -> int:
        return len(self._derived)

    def __iter__(self) -> Iterator[str]:
        return iter(self._derived)

    def snapshot(self, uid: str) -> Snapshot:
        """The newest one; KeyError."""
        return self._derived[uid].snapshot

    def derive(self, replica: Replica) -> None:
        """Derive a snapshot if the last one no longer shows what the replica has come to."""
        last, now_ms = self._derived.get(replica.uid), self._clock.now_ms()
        if not replica.begun or (last is not None and last.good(replica, now_ms)):
            return
        self._derived[replica.uid] = Derived(replica.snapshot(now_ms), replica)
        self._changes.derived(replica, first=last is None)
        self._gauges.derived(replica)

    def swap(self, lost: Container[str]) -> None:
        """Choose from the newest snapshots from now on; a lost experiment gives way to one that took its name."""
        last_wins = sorted(self._derived, key=lambda uid: uid not in lost)
        self._directory.publish({uid: self._derived[uid].snapshot for uid in last_wins})

    def forget(self, uid: str) -> None:
        """The experiment was deleted: nothing is chosen from it after the next swap, and its trials go."""
        self._derived.pop(uid, None)
        self._directory.buffers.pop(uid, None)
        self._changes.forget(uid)
