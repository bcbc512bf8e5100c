"""Keeps this process in step with the store: polls and folds the log, flushes trials, writes checkpoints.

Two threads. The polling one owns the replicas: it folds what is new, derives, publishes. The flushing one sends
trials. When the store is away both keep trying and choices go on from what is published, marked stale. After every
loss of the connection the folded state is dropped and loaded anew: the store may have lost its last moments, and
neither ids nor versions are sure to be seen going backwards. What the store has lost, or cannot show, is served from
the last snapshot, and its replica is kept: `lever restore` can bring it back from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import structlog

from service.errors import CorruptError, PreconditionError, UnavailableError
from service.learning.checkpoints import Checkpoints
from service.learning.flusher import Flusher
from service.learning.gauges import Gauges
from service.learning.replica import Replica
from service.learning.snapshot_file import SnapshotFile
from service.process.priority import give_way
from service.serving.published import Published
from service.serving.snapshot import Snapshot
from service.serving.store_clock import Clock
from service.store.contract import LostError, Poll, Store
from service.telemetry.metrics import Metrics

T = TypeVar("T")

_ENTRIES = 1000  # of one experiment in one poll
_UNREADABLE_S = 5.0  # before an experiment that cannot be read is tried again


class Feed:
    """The two threads and what they share with the rest: the directory and the clock."""

    def __init__(
        self,
        store: Store,
        directory: Published,
        clock: Clock,
        metrics: Metrics,
        poll_ms: int,
        flush_ms: int,
        shelf: SnapshotFile | None = None,
        reaffirm: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._metrics = metrics
        self._poll_s = poll_ms / 1000
        self._flush_s = flush_ms / 1000
        self._log = structlog.get_logger("lever.feed")
        self.replicas: dict[str, Replica] = {}  # owned by the polling thread; hold `_folding` to read elsewhere
        self._snapshots: dict[str, Snapshot] = {}
        self._changes: dict[tuple[str, int], int] = {}  # changes detected, as announced, by uid and segment
        self._derived: dict[str, Replica] = {}  # what each snapshot was derived from
        self._lost: dict[str, Replica | None] = {}  # forgotten by the store, as it was last folded
        self._unreadable: dict[str, tuple[str, float]] = {}  # why, and when to try again
        self._keeper = Checkpoints(store, metrics)
        self._gauges = Gauges(metrics)
        self._shelf = shelf or SnapshotFile(None)
        self._reaffirm = reaffirm  # gives the store back what is not an experiment's
        self._broken = True  # the next poll that succeeds loads everything anew
        self._told = False  # that the store is away
        self._session: object = None
        self._flush = Flusher(store, directory, metrics).flush
        self._stop = threading.Event()
        self._nudge = threading.Event()
        self._turn = threading.Condition()
        self._folding = threading.Lock()
        self._polls = 0
        self._threads = [
            threading.Thread(target=self._run, args=(self._poll, self._nudge, self._poll_s), name="lever-poll"),
            threading.Thread(target=self._run, args=(self._flush, self._stop, self._flush_s), name="lever-flush"),
        ]

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Publish what was kept from the last run, and start both threads."""
        for replica in self._shelf.load():
            self.replicas[replica.uid] = replica
            self._gauges.shelved(replica, self._clock.now_ms())
        self._publish()
        for thread in self._threads:
            thread.start()

    def stop(self, flush_s: float = 5.0) -> None:
        """Stop polling, then flush until nothing waits or `flush_s` has passed."""
        self._stop.set()
        self._nudge.set()
        for thread in self._threads:
            thread.join()
        self._shelf.save(self._held(), now=True)
        until = time.monotonic() + flush_s
        while any(len(b) for b in self._directory.buffers.values()) and time.monotonic() < until:
            if not self._flush():
                time.sleep(0.05)

    @property
    def ready(self) -> bool:
        """Whether there is something to serve from: the store was reached once, or a snapshot was kept."""
        return self._polls > 0 or bool(self._snapshots)

    @property
    def store_up(self) -> bool:
        """Whether the last poll succeeded."""
        return not self._directory.stale

    def refresh(self, timeout_s: float) -> None:
        """Return once everything that the store has now is folded and published, or raise UnavailableError."""
        with self._turn:
            # The poll under way may have read before what we wait for; the one after it cannot have.
            target = self._polls + 2
            self._nudge.set()
            if not self._turn.wait_for(lambda: self._polls >= target or self._stop.is_set(), timeout_s):
                raise UnavailableError("the store does not answer")

    def flushed(self, timeout_s: float) -> None:
        """Return once every trial decided so far is in the store, or raise UnavailableError."""
        until = time.monotonic() + timeout_s
        while any(len(b) for b in list(self._directory.buffers.values())):
            if time.monotonic() > until:
                raise UnavailableError("the store does not take trials")
            time.sleep(self._flush_s / 4)

    def inspect(self, name: str, look: Callable[[Snapshot, Replica, bool], T]) -> T:
        """What `look` makes of an experiment as of the last poll: its snapshot, its replica, whether both are stale.

        Nothing is read from the log while it looks. Raises NotFoundError, UnavailableError.
        """
        snapshot = self._directory.named(name)
        with self._folding:
            replica = self.replicas.get(snapshot.experiment.uid)
            if replica is None:
                raise UnavailableError(f"the store has lost experiment {name!r}", "STORE_LOST_EXPERIMENT")
            return look(self._snapshots[replica.uid], replica, self._directory.stale)

    def lost(self) -> frozenset[str]:
        """Experiments that are served here and that the store forgot."""
        return frozenset(self._lost)

    def held(self, name: str) -> Replica:
        """What is left here of an experiment that the store forgot. PreconditionError if it did not."""
        with self._folding:
            for uid, replica in self._lost.items():
                snapshot = self._snapshots.get(uid)
                if replica is not None and snapshot is not None and snapshot.experiment.name == name:
                    return replica
        raise PreconditionError(
            f"the store has not lost experiment {name!r}, or nothing of it is left here", "NOT_LOST"
        )

    def _held(self) -> list[Replica]:
        return [*self.replicas.values(), *(replica for replica in self._lost.values() if replica is not None)]

    def _run(self, turn: Callable[[], bool], wake: threading.Event, every_s: float) -> None:
        give_way()
        wait = every_s
        while not self._stop.is_set():
            try:
                wait = every_s if turn() else min(max(2 * wait, 0.05), 0.5)
            except Exception:  # noqa: BLE001 - a thread that ends in silence would stop learning for good
                self._log.exception("a turn failed; going on")
                wait = 0.5
            wake.wait(wait)
            if wake is self._nudge:
                wake.clear()

    # -- poll --------------------------------------------------------------------------------------------------

    def _poll(self) -> bool:
        try:
            while self._turn_once():
                pass
        except UnavailableError as error:
            if not self._told:
                self._log.warning("the store is away; choices go on from the last snapshot", error=str(error))
            self._broken = self._told = True
            self._directory.stale = self._directory.away = True
            self._metrics.store_up.set(0)
            return False
        with self._turn:
            self._polls += 1 if self._polls else 2
            self._turn.notify_all()
        return True

    def _turn_once(self) -> bool:
        """One poll; true if there is more to read at once."""
        asked = time.monotonic_ns()
        poll = self._store.poll({} if self._broken else self._cursors(), _ENTRIES)
        self._clock.set(poll.now, asked, time.monotonic_ns())
        self._directory.away = False
        with self._folding:
            if self._broken or poll.session != self._session:
                self._reload(poll)
                self._session = poll.session
            else:
                self._follow(poll)
            if poll.more:
                return True
            for replica in list(self.replicas.values()):
                replica.idle(poll.now)
                self._keeper.send(replica)
                if self._keeper.audit(replica):
                    self._load(replica.uid)
            self._publish()
            self._gauges.current(self.replicas.values(), self._keeper.diverged)
            self._shelf.save(self._held())
        return False

    def _cursors(self) -> Mapping[str, str]:
        return {uid: replica.cursor for uid, replica in self.replicas.items()}

    def _follow(self, poll: Poll) -> None:
        """Fold the news of a store that was there all the time."""
        known, now = set(poll.registry.values()), time.monotonic()
        for uid, why in poll.damaged.items():
            self._quarantine(uid, why)
        for uid in known - set(self.replicas):
            if uid not in self._unreadable or self._unreadable[uid][1] <= now:
                self._load(uid)
        for uid in (set(self.replicas) | set(self._snapshots)) - known:
            self._forget(uid, poll.deleted)
        for uid, entries in poll.entries.items():
            if uid in self.replicas:
                try:
                    self.replicas[uid].fold(entries)
                except CorruptError as error:
                    self._quarantine(uid, str(error))
                    continue
                self._keeper.send(self.replicas[uid])

    def _reload(self, poll: Poll) -> None:
        """Load every experiment anew; what is published stays until the new fold has caught up."""
        known = set(poll.registry.values())
        for uid in (set(self.replicas) | set(self._snapshots)) - known:
            self._forget(uid, poll.deleted)
        for uid in known:
            self._load(uid)
        if self._broken:
            self._log.info("the store is reached", experiments=len(known))
        self._broken = self._told = False
        self._directory.stale = False
        self._metrics.store_up.set(1)

    def _load(self, uid: str) -> None:
        """Checkpoint and tail, up to what the store has now."""
        try:
            replica, sound = self._replica(uid)
            while True:
                poll = self._store.poll({uid: replica.cursor}, _ENTRIES)
                if uid in poll.damaged:
                    self._quarantine(uid, poll.damaged[uid])
                    return
                replica.fold(poll.entries.get(uid, ()))
                if not poll.more:
                    break
        except LostError:
            self._forget(uid, frozenset())
            return
        except CorruptError as error:
            self._quarantine(uid, str(error))
            return
        if not sound and replica.begun:
            replica.heal()
        if uid in self._lost or uid in self._unreadable:
            self._log.warning("an experiment is back", **self._names(uid))
        self._lost.pop(uid, None)
        self._unreadable.pop(uid, None)
        self._gauges.loaded(replica, diverged=self._keeper.diverged(uid))
        self.replicas[uid] = replica

    def _replica(self, uid: str) -> tuple[Replica, bool]:
        """What the store has of an experiment, before the log's tail; false if the stored checkpoint is no good."""
        loaded = self._store.load(uid)
        why = loaded.damaged
        if not why:
            try:
                return Replica(uid, loaded), True
            except CorruptError as error:
                why = str(error)
        self._log.error("a checkpoint is damaged; reading the log from its beginning", error=why, **self._names(uid))
        return Replica(uid, type(loaded)(loaded.record)), False

    def _quarantine(self, uid: str, why: str) -> None:
        """An experiment cannot be read: it goes on from its last snapshot, the others go on as ever."""
        self.replicas.pop(uid, None)
        if self._unreadable.get(uid, ("", 0.0))[0] != why:
            self._log.error("an experiment cannot be read; serving its last snapshot", error=why, **self._names(uid))
        self._unreadable[uid] = (why, time.monotonic() + _UNREADABLE_S)
        if uid in self._snapshots:
            self._gauges.tell(self._snapshots[uid].experiment.name, unreadable=1)

    def _forget(self, uid: str, deleted: frozenset[str]) -> None:
        """The store no longer lists an experiment: deleted on purpose, or lost."""
        held = self.replicas.pop(uid, None)
        snapshot = self._snapshots.get(uid)
        if uid in deleted:
            for kept in (self._snapshots, self._derived, self._directory.buffers, self._lost, self._unreadable):
                kept.pop(uid, None)
            self._keeper.forget(uid)
            if snapshot is not None:
                self._gauges.deleted(snapshot.experiment.name, self.replicas.values())
        elif uid not in self._lost:
            self._lost[uid] = held
            self._log.error("the store has lost an experiment; serving its last snapshot", **self._names(uid))
            self._reaffirm()
            if snapshot is not None:
                self._gauges.tell(snapshot.experiment.name, lost=1)

    def _names(self, uid: str) -> dict[str, str]:
        """What logs call an experiment; its own name as far as it was ever read."""
        snapshot = self._snapshots.get(uid)
        return {"uid": uid} if snapshot is None else {"uid": uid, "experiment": snapshot.experiment.name}

    def _announce(self, replica: Replica, *, loaded: bool) -> None:
        """Say which changes were detected since the experiment was `loaded`; every server says it for itself."""
        experiment = replica.experiment
        for segment, cuts in replica.reviews.cuts().items():
            place = (experiment.name, experiment.segments.ids[segment])
            known = self._changes.get((replica.uid, segment), 0)
            self._changes[replica.uid, segment] = len(cuts)
            if len(cuts) > known and not loaded:
                last = cuts[-1]
                self._log.warning(
                    "the arms began to earn differently; what was learned before has no weight", experiment=place[0],
                    segment=place[1], from_ms=last.from_ms, found_ms=last.found_ms, in_all=len(cuts),
                )  # fmt: skip

    def _publish(self) -> None:
        """Derive what changed and swap the directory."""
        now = self._clock.now_ms()
        for uid, replica in self.replicas.items():
            old = self._snapshots.get(uid)
            due = old is not None and old.expires_ms is not None and now >= old.expires_ms
            fresh = old is not None and old.log_id == replica.cursor and self._derived.get(uid) is replica
            if replica.begun and (due or not fresh):
                self._snapshots[uid] = replica.snapshot(now)
                self._derived[uid] = replica
                self._announce(replica, loaded=old is None)
                self._gauges.derived(replica)
        # Names are those of the last: a lost experiment gives way to one that took its name meanwhile.
        self._directory.publish(dict(sorted(self._snapshots.items(), key=lambda item: item[0] not in self._lost)))
