"""Keeps this process in step with the store: polls and folds the log, flushes trials, writes checkpoints.

Two threads. The polling one owns the replicas: it folds what is new, derives, publishes. The flushing one sends
trials. When the store is away both keep trying and choices go on from what is published, marked stale. After every
loss of the connection the folded state is dropped and loaded anew: the store may have lost its last moments, and
neither ids nor versions are sure to be seen going backwards.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping

import structlog

from service.clock import Clock
from service.directory import Directory
from service.errors import CorruptError, UnavailableError
from service.metrics import Metrics
from service.replica import Replica
from service.report import Report, report
from service.snapshot import Snapshot
from service.store import Checkpointed, LostError, Poll, Store

_ENTRIES = 1000  # of one experiment in one poll


class Feed:
    """The two threads and what they share with the rest: the directory and the clock."""

    def __init__(
        self, store: Store, directory: Directory, clock: Clock, metrics: Metrics, poll_ms: int, flush_ms: int
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
        self._lost: set[str] = set()
        self._diverged: set[str] = set()
        self._broken = True  # the next poll that succeeds loads everything anew
        self._session: object = None
        self._writer = secrets.token_hex(8)
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
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, flush_s: float = 5.0) -> None:
        """Stop polling, then flush until nothing waits or `flush_s` has passed."""
        self._stop.set()
        self._nudge.set()
        for thread in self._threads:
            thread.join()
        until = time.monotonic() + flush_s
        while any(len(b) for b in self._directory.buffers.values()) and time.monotonic() < until:
            if not self._flush():
                time.sleep(0.05)

    @property
    def ready(self) -> bool:
        """Whether there is something to serve from: the store was reached once."""
        return self._polls > 0

    @property
    def store_up(self) -> bool:
        """Whether the last poll succeeded."""
        return not self._directory.stale

    def refresh(self, timeout_s: float = 2.0) -> None:
        """Return once everything that the store has now is folded and published, or raise UnavailableError."""
        with self._turn:
            # The poll under way may have read before what we wait for; the one after it cannot have.
            target = self._polls + 2
            self._nudge.set()
            if not self._turn.wait_for(lambda: self._polls >= target or self._stop.is_set(), timeout_s):
                raise UnavailableError("the store does not answer")

    def flushed(self, timeout_s: float = 2.0) -> None:
        """Return once every trial decided so far is in the store, or raise UnavailableError."""
        until = time.monotonic() + timeout_s
        while any(len(b) for b in list(self._directory.buffers.values())):
            if time.monotonic() > until:
                raise UnavailableError("the store does not take trials")
            time.sleep(self._flush_s / 4)

    def report(self, name: str) -> Report:
        """The report of an experiment as of the last poll. Raises NotFoundError, UnavailableError."""
        snapshot = self._directory.named(name)
        with self._folding:
            replica = self.replicas.get(snapshot.experiment.uid)
            if replica is None:
                raise UnavailableError(f"the store has lost experiment {name!r}", "STORE_LOST_EXPERIMENT")
            return report(self._snapshots[replica.uid], replica, self._directory.stale)

    def lost(self) -> frozenset[str]:
        """Experiments that are served here and that the store forgot."""
        return frozenset(self._lost)

    def _run(self, turn: Callable[[], bool], wake: threading.Event, every_s: float) -> None:
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
            if not self._broken:
                self._log.warning("the store is away; choices go on from the last snapshot", error=str(error))
            self._broken = True
            self._directory.stale = True
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
        with self._folding:
            if self._broken or poll.session != self._session:
                self._session = poll.session
                self._reload(poll)
            else:
                self._follow(poll)
            if poll.more:
                return True
            for uid, replica in self.replicas.items():
                replica.idle(poll.now)
                self._send_checkpoint(uid, replica)
            self._publish()
        return False

    def _cursors(self) -> Mapping[str, str]:
        return {uid: replica.cursor for uid, replica in self.replicas.items()}

    def _follow(self, poll: Poll) -> None:
        """Fold the news of a store that was there all the time."""
        known = set(poll.registry.values())
        for uid in known - set(self.replicas):
            self._load(uid)
        for uid in set(self.replicas) - known:
            self._forget(uid, poll.deleted)
        for uid, entries in poll.entries.items():
            if uid in self.replicas:
                self.replicas[uid].fold(entries)
                self._send_checkpoint(uid, self.replicas[uid])

    def _reload(self, poll: Poll) -> None:
        """Load every experiment anew; what is published stays until the new fold has caught up."""
        known = set(poll.registry.values())
        for uid in (set(self.replicas) | set(self._snapshots)) - known:
            self._forget(uid, poll.deleted)
        self.replicas.clear()
        for uid in known:
            self._load(uid)
        if self._broken:
            self._log.info("the store is reached", experiments=len(known))
        self._broken = False
        self._directory.stale = False
        self._metrics.store_up.set(1)

    def _load(self, uid: str) -> None:
        """Checkpoint and tail, up to what the store has now."""
        try:
            replica = self._replica(uid)
            while True:
                poll = self._store.poll({uid: replica.cursor}, _ENTRIES)
                replica.fold(poll.entries.get(uid, ()))
                if not poll.more:
                    break
        except LostError:
            self._forget(uid, frozenset())
            return
        except CorruptError as error:
            self._log.error("an experiment cannot be read", uid=uid, error=str(error))
            return
        self._lost.discard(uid)
        self.replicas[uid] = replica

    def _replica(self, uid: str) -> Replica:
        loaded = self._store.load(uid)
        try:
            return Replica(uid, loaded)
        except CorruptError as error:
            self._log.error("a checkpoint is damaged; folding the log from its beginning", uid=uid, error=str(error))
            return Replica(uid, type(loaded)(loaded.record))

    def _forget(self, uid: str, deleted: frozenset[str]) -> None:
        """The store no longer lists an experiment: deleted on purpose, or lost."""
        self.replicas.pop(uid, None)
        if uid in deleted:
            self._snapshots.pop(uid, None)
            self._directory.buffers.pop(uid, None)
            self._lost.discard(uid)
        elif uid not in self._lost:
            self._lost.add(uid)
            self._log.error("the store has lost an experiment; serving its last snapshot", uid=uid)

    def _publish(self) -> None:
        """Derive what changed and swap the directory."""
        now = self._clock.now_ms()
        for uid, replica in self.replicas.items():
            old = self._snapshots.get(uid)
            due = old is not None and old.expires_ms is not None and now >= old.expires_ms
            if replica.begun and (old is None or due or old.log_id != replica.cursor):
                self._snapshots[uid] = replica.snapshot(now)
            if replica.begun:
                self._metrics.snapshot_age.mark((replica.experiment.name,))
        self._directory.publish(self._snapshots)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _send_checkpoint(self, uid: str, replica: Replica) -> None:
        cut = replica.cut
        if cut is None or uid in self._diverged:
            replica.cut = None
            return
        name = replica.experiment.name
        match self._store.checkpoint(uid, cut):
            case Checkpointed.STORED | Checkpointed.SAME:
                replica.sent(cut)
                self._metrics.checkpoint_age.mark((name,))
            case Checkpointed.DIVERGED:
                replica.cut = None
                self._diverged.add(uid)
                self._metrics.divergence.set(1, (name,))
                self._log.error("two servers folded the same log to different states", experiment=name, id=cut.id)
            case Checkpointed.STALE:
                replica.superseded(self._store.load(uid).checkpoint)

    # -- flush -------------------------------------------------------------------------------------------------

    def _flush(self) -> bool:
        """Send every waiting chunk; false if the store is away."""
        for uid, buffer in list(self._directory.buffers.items()):
            snapshot = self._directory.by_uid.get(uid)
            if snapshot is None:
                continue
            experiment = snapshot.experiment
            while (chunk := buffer.chunk()) is not None:
                try:
                    late = self._store.append(
                        uid, self._writer, chunk.sequence, chunk.stride, chunk.rows, experiment.horizon_ms
                    )
                    if late:
                        self._metrics.trials_dropped.add((experiment.name, "late"), late)
                except LostError:
                    self._metrics.trials_dropped.add((experiment.name, "lost"), chunk.count)
                except UnavailableError:
                    return False
                buffer.done()
            if buffer.dropped:
                dropped, buffer.dropped = buffer.dropped, 0
                self._metrics.trials_dropped.add((experiment.name, "full"), dropped)
        self._metrics.flush_age.mark()
        return True
