"""Keeps this process in step with the store: polls and folds the log, publishes, flushes trials, writes checkpoints.

Two threads. The polling one owns the replicas: it folds what is new, derives, publishes. The flushing one sends
trials. When the store is away both keep trying and choices go on from what is published, marked stale. What the store
has lost, or cannot show, is served from the last snapshot, and its replica is kept: `lever restore` can bring it back
from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import structlog

from service.errors import LeverError, UnavailableError
from service.learning.agreement import Agreement
from service.learning.checkpoints import Checkpoints
from service.learning.flusher import Flusher
from service.learning.follower import Follower
from service.learning.gauges import Gauges
from service.learning.publisher import Publisher
from service.learning.quarantine import Quarantine
from service.learning.replica import Replica
from service.learning.rounds import polls
from service.learning.sharing.pace import WINDOW_S, Pace
from service.learning.sharing.sharing import Sharing
from service.learning.snapshot_file import SnapshotFile
from service.process.loop import Loop
from service.serving.published import Published
from service.serving.snapshot import Snapshot
from service.serving.store_clock import StoreClock
from service.store.contract import Store
from service.store.sharing.states import States
from service.telemetry.metrics import Metrics

# Checkpoints of logs that have been quiet, in one poll: after a start, of thousands, they all would be due.
QUIET_AT_ONCE = 20
# Who writes waits so long for a store that is silent, and so long for this process where it is the one that gets no core.
REFRESH_S, BUSY_S = 10.0, 60.0
T = TypeVar("T")


class Feed:
    """The two threads' turns, and what the rest of the process may ask of them."""

    def __init__(
        self,
        store: Store,
        directory: Published,
        clock: StoreClock,
        metrics: Metrics,
        poll_ms: int,
        flush_ms: int,
        snapshot_file: SnapshotFile | None = None,
        agreement: Agreement | None = None,
    ) -> None:
        agreement = agreement or Agreement()
        self._meet, self._met = agreement.meet, False
        self.refused: LeverError | None = None  # why nothing is read from this store, nor written to it
        self._store = store
        self._directory = directory
        self._clock = clock
        self._metrics = metrics
        self._log = structlog.get_logger("lever.feed")
        self._gauges = Gauges(metrics)
        self._checkpoints = Checkpoints(store, metrics)
        self._publisher = Publisher(directory, self._gauges)
        self._quarantine = Quarantine(directory, self._gauges, agreement.reaffirm)
        self._follower = Follower(store, clock, self._publisher, self._quarantine, self._checkpoints, self._gauges)
        self._snapshot_file = snapshot_file or SnapshotFile(None)
        self.flush = Flusher(store, directory, metrics, self._follower.rounds.use).flush  # sends every waiting chunk
        self._poll_s, self._flush_s = poll_ms / 1000, flush_ms / 1000
        self._polling = Loop("lever-poll", self._poll, self._poll_s)
        self._flushing = Loop("lever-flush", self._flush, self._flush_s)
        self._folding = threading.Lock()  # held while replicas and snapshots change
        self._reached: bool | None = None  # whether the last poll found the store; None: there was none yet
        self._begun = self._done = 0  # number of the newest poll that began, and of the newest that succeeded
        self._whole = False  # whether the next one asks about every experiment
        self._stopped = False
        self._turn = threading.Condition()

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Publish what was kept from the last run, and start both threads."""
        for replica in self._snapshot_file.load():
            self.replicas[replica.uid] = replica
            self._gauges.restored(replica, self._clock.now_ms())
        self._publish(list(self.replicas), needed=True)
        self._polling.start()
        self._flushing.start()

    def stop(self, flush_s: float = 5.0) -> None:
        """Stop polling, then flush until nothing waits or `flush_s` has passed."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        self._polling.stop()
        self._flushing.stop()
        self._snapshot_file.save(self._replicas(), now=True)
        until = time.monotonic() + flush_s
        while self.waiting() and time.monotonic() < until:
            if not self._flush() and self.refused:
                return
            if self.waiting():
                time.sleep(0.05)

    def share(self, states: States, rows_s: float, window_s: float = WINDOW_S) -> None:
        """From so many rows a second on one server adds up for all. Call it before `start`."""
        pace = Pace(rows_s, window_s)
        self._follower.sharing = Sharing(states, self._store, self._metrics, pace)

    def turn(self) -> None:
        """A turn of both threads in the caller's own, for a feed that was not started: what was decided is stored and folded."""
        self._poll()
        self._flush()
        self._poll()

    # -- what others ask ---------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether there is something to serve from: the store was reached once, or a snapshot was kept."""
        return self._done > 0 or len(self._publisher) > 0

    @property
    def store_up(self) -> bool:
        """Whether the last poll succeeded."""
        return not self._directory.stale

    def waiting(self) -> int:
        """Trials that are not in the store yet."""
        return sum(len(buffer) for buffer in list(self._directory.buffers.values()))

    @property
    def replicas(self) -> dict[str, Replica]:
        """What was folded, by uid. The polling thread's: read it while that is `paused`."""
        return self._follower.replicas

    def refresh(self, timeout_s: float = REFRESH_S, busy_s: float = BUSY_S) -> None:
        """Return once everything that the store has now is folded and published, or raise UnavailableError.

        As long as the store was not found to be away this takes up to `busy_s`: then it is this process that gets no core.
        """
        with self._turn:
            # The poll under way may have read before what we wait for; the one after it cannot have.
            wanted, self._whole = self._begun + 1, True
            self._polling.nudge()
            until = time.monotonic() + max(busy_s, timeout_s)
            if self._turn.wait_for(lambda: self._done >= wanted or self._stopped, timeout_s):
                return
            while self._reached is not False and time.monotonic() < until:
                if self._turn.wait_for(lambda: self._done >= wanted or self._stopped, self._poll_s):
                    return
            if self._reached is False or busy_s <= timeout_s:
                raise UnavailableError("the store does not answer")
            raise UnavailableError(f"this server is too busy: it could not read the store for {busy_s:.0f} s")

    def spread(self, timeout_s: float = REFRESH_S, busy_s: float = BUSY_S) -> None:
        """`refresh` after a write, and the time of a round more, in which the other workers come to have it too."""
        self.refresh(timeout_s, busy_s)
        with self._turn:
            self._turn.wait_for(lambda: self._stopped, self._poll_s * polls(len(self.replicas)))

    def flushed(self, timeout_s: float) -> None:
        """Return once every trial decided so far is in the store, or raise UnavailableError."""
        until = time.monotonic() + timeout_s
        while self.waiting():
            if time.monotonic() > until:
                raise UnavailableError("the store does not take trials")
            time.sleep(self._flush_s / 4)

    @contextmanager
    def paused(self) -> Iterator[Mapping[str, Replica]]:
        """The replicas by uid, which stand still meanwhile."""
        with self._folding:
            yield self.replicas

    def inspect(self, name: str, look: Callable[[Snapshot, Replica, bool], T]) -> T:
        """What `look` makes of an experiment as of the last poll: its snapshot, its replica, whether both are stale.

        Nothing is read from the log while it looks. Raises NotFoundError, UnavailableError.
        """
        uid = self._directory.named(name).experiment.uid
        with self.paused() as replicas:
            if uid not in replicas:
                raise UnavailableError(f"the store has lost experiment {name!r}", "STORE_LOST_EXPERIMENT")
            replica = replicas[uid]
            if self._derive(replica, self._clock.now_ms(), needed=True):
                self._publisher.swap(self._quarantine.lost)
            return look(self._publisher.snapshot(uid), replica, self._directory.outdated(uid))

    def lost(self) -> frozenset[str]:
        """Experiments that are served here and that the store forgot."""
        return frozenset(self._quarantine.lost)

    def held(self, name: str) -> Replica:
        """What is left here of an experiment that the store forgot. PreconditionError if it did not."""
        with self.paused():
            return self._quarantine.held(name)

    # -- a turn ------------------------------------------------------------------------------------------------

    def _poll(self) -> bool:
        """Read until nothing is left to read, and publish; false while the store is away."""
        with self._turn:
            self._begun += 1
            whole, self._whole = self._whole, False
        try:
            if not self._agreed():
                return False
            while self._read(whole=whole):
                pass
        except UnavailableError as error:
            self._store_away(error)
            return False
        with self._turn:
            self._done, self._directory.read = self._begun, True
            self._turn.notify_all()
        return True

    def _agreed(self) -> bool:
        """Whether this is a store that this server may work with. UnavailableError while that cannot be asked."""
        if not self._met and self.refused is None:
            try:
                self._meet()
                self._met = True
            except UnavailableError:
                raise
            except LeverError as error:
                self.refused = error
        return self._met

    def _flush(self) -> bool:
        return self._met and self.flush()

    def _read(self, *, whole: bool) -> bool:
        """One poll; true if there is more to read at once."""
        poll = self._follower.poll(whole=whole)
        self._directory.away = False
        with self._folding:
            if self._follower.take(poll):
                self._store_reached(len(poll.registry))
            self._directory.parted = self._follower.away
            if not poll.more:
                self._follower.share(poll.now)
                seen = self._follower.seen()
                self._look_after(seen, poll.now)
                self._publish(seen, needed=whole)
                self._gauges.current(self._current(seen), self._checkpoints.diverged)
                self._snapshot_file.save(self._replicas())
        return poll.more

    def _look_after(self, uids: Sequence[str], now_ms: int) -> None:
        """Checkpoints: cut where the log is quiet, a few at a time, sent, audited."""
        left = QUIET_AT_ONCE
        for replica in self._current(uids):
            uid = replica.uid
            if not (replica.due(now_ms) or self._checkpoints.due(uid)):
                continue
            with self._follower.contained(uid):
                if replica.cut is None and left:
                    replica.idle(now_ms)
                    left -= replica.cut is not None
                self._checkpoints.send(replica)
                if self._checkpoints.audit(replica):
                    self._follower.load(uid)

    def _publish(self, uids: Sequence[str], *, needed: bool) -> None:
        """Derive what changed of these, and swap; of all that changed where somebody waits for it."""
        now_ms = self._clock.now_ms()
        for uid in uids:
            replica = self.replicas.get(uid)
            if replica is not None:
                self._derive(replica, now_ms, needed=needed)
        self._publisher.swap(self._quarantine.lost)

    def _derive(self, replica: Replica, now_ms: int, *, needed: bool) -> bool:
        """A new snapshot where one is due; whether there is one."""
        if not self._publisher.due(replica, now_ms, needed=needed):
            return False
        with self._follower.contained(replica.uid):
            self._publisher.derive(replica, now_ms)
            return True
        return False

    def _store_away(self, error: UnavailableError) -> None:
        if self._reached is not False:
            self._log.warning("the store is away; choices go on from the last snapshot", error=str(error))
        self._reached = False
        self._follower.disconnected()
        self._directory.stale = self._directory.away = True
        self._metrics.store_up.set(0)

    def _store_reached(self, experiments: int) -> None:
        if not self._reached:
            self._log.info("the store is reached", experiments=experiments)
        self._reached = True
        self._directory.stale = False
        self._metrics.store_up.set(1)

    def _current(self, uids: Sequence[str]) -> list[Replica]:
        """Those of these of which the last poll brought all that the store has."""
        away, replicas = self._follower.away, self.replicas
        return [replicas[uid] for uid in uids if uid in replicas and uid not in away]

    def _replicas(self) -> list[Replica]:
        """All that is left here, also of what the store has lost."""
        return [*self.replicas.values(), *(replica for replica in self._quarantine.lost.values() if replica)]
