"""Following the log: every experiment's replica is loaded once, and then folds what the store has new.

After every loss of a connection all that are read over it are loaded anew: the store may have lost its last moments, and
neither ids nor versions are sure to be seen going backwards. Those of a cluster's primary that is away wait for it; the
others go on.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import structlog

from service.errors import CorruptError, UnavailableError
from service.learning.checkpoints import Checkpoints
from service.learning.fold.past import StoredPast
from service.learning.gauges import Gauges
from service.learning.publisher import Publisher
from service.learning.quarantine import Quarantine
from service.learning.replica import Replica
from service.learning.rounds import Asked, Rounds
from service.learning.sharing.sharing import Sharing
from service.serving.store_clock import StoreClock
from service.store.contract import NOWHERE, START, Loaded, LostError, PartAwayError, Poll, Store
from service.store.scripts import order

_ENTRIES = 1000  # of one experiment in one poll


class Follower:
    """The replicas of this process. Used by the polling thread."""

    def __init__(
        self,
        store: Store,
        clock: StoreClock,
        publisher: Publisher,
        quarantine: Quarantine,
        checkpoints: Checkpoints,
        gauges: Gauges,
    ) -> None:
        self._store = store
        self._clock = clock
        self._publisher = publisher
        self._quarantine = quarantine
        self._checkpoints = checkpoints
        self._gauges = gauges
        self._log = structlog.get_logger("lever.feed")
        self.rounds = Rounds()
        self._asked = Asked((), listed=True)  # in the last poll
        self._read: Collection[str] = ()  # those of which it asked the store
        self._seen: dict[str, None] = {}  # asked about since `seen` was
        self.replicas: dict[str, Replica] = {}
        self.away: frozenset[str] = frozenset()  # those whose part of the store is away, as of the last poll
        self.sharing: Sharing | None = None  # of what one server adds up for all, if that is wanted
        self._session: int | None = None  # of the store that they follow; None: the next poll loads everything anew
        self._sessions: dict[str, int] = {}  # those over which they were loaded, by uid
        self._told: frozenset[str] = frozenset()  # `away`, as it was last told

    def poll(self, *, whole: bool = False) -> Poll:
        """What is new in the store, or in the part of it whose turn it is; of what another server adds up only if `whole`.

        UnavailableError; then the next one starts anew.
        """
        begun = time.monotonic_ns()
        everything = whole or bool(self.away) or self._session is None
        self._asked = self.rounds.next(self.replicas, whole=everything)
        cursors = {} if self._session is None else {uid: self.replicas[uid].cursor for uid in self._asked.uids}
        if self.sharing is not None and not whole:
            for uid in self.sharing.loading:
                cursors.pop(uid, None)
        self._read = cursors.keys()
        poll = self._store.poll(cursors, _ENTRIES, listed=self._asked.listed)
        self._clock.set(poll.now, begun, time.monotonic_ns())
        self._gauges.evicts(poll.eviction)
        for uid in poll.entries:
            self.rounds.use(uid)
        return poll

    def seen(self) -> list[str]:
        """What was asked about, or loaded, since this was called last, as far as it is read here."""
        seen, self._seen = self._seen, {}
        return [uid for uid in seen if uid in self.replicas]

    def take(self, poll: Poll) -> bool:
        """Bring the replicas to where the store is; whether everything had to be loaded. UnavailableError."""
        anew = poll.session != self._session
        listed = anew or self._asked.listed
        known = set(poll.registry.values() if listed else self._read)
        self.away = poll.away  # all were asked if any was
        self._seen.update(dict.fromkeys(self._asked.uids))
        self._quarantine.listed(poll.registry)
        for uid, why in poll.damaged.items():
            self._shut(uid, CorruptError(why))
        if not anew:
            self._fold(poll)
        if listed:
            self._drop_unlisted(known)
        for uid in known - poll.damaged.keys() - poll.away:
            if anew or (self._moved(uid, poll) and not self._quarantine.waits(uid)):
                self._begin(uid, poll.session_of(uid))
        self._session = poll.session
        self._tell_away()
        return anew

    def _fold(self, poll: Poll) -> None:
        for uid, entries in poll.entries.items():
            replica = self.replicas.get(uid)
            if replica is None or self._moved(uid, poll):
                continue  # it is loaded
            if uid in poll.rewound:
                self.load(uid)
                continue
            with self.contained(uid):
                replica.fold(entries)
                self._checkpoints.send(replica)

    def share(self, now_ms: int) -> None:
        """Offer what this server adds up for all, load what another one does. What is in dispute each goes on adding up."""
        if self.sharing is None:
            return
        for uid in list(self._seen):
            replica = self.replicas.get(uid)
            if replica is None or uid in self.away or not replica.begun or self._checkpoints.diverged(uid):
                self.sharing.stop(uid)
                continue
            with self.contained(uid):
                self.replicas[uid] = self.sharing.turn(replica, now_ms)
            if uid in self.sharing.loading:
                self.rounds.use(uid)

    def _begin(self, uid: str, session: int) -> None:
        if session == NOWHERE:
            self.away |= {uid}
            return
        self._sessions[uid] = session
        self.load(uid)

    def _moved(self, uid: str, poll: Poll) -> bool:
        """Whether it is read over another connection than it was loaded over, or was not loaded."""
        if uid not in self.replicas:
            return True
        return poll.session_of(uid) != self._sessions.get(uid)

    def _tell_away(self) -> None:
        if self.away != self._told:
            say = self._log.warning if self.away - self._told else self._log.info
            say(
                "a part of the store is away; its experiments go on from the last snapshot"
                if self.away
                else "all parts of the store are reached",
                experiments=len(self.away),
            )
            self._told = self.away

    def disconnected(self) -> None:
        """The store was away: what is known of it may not be so any more."""
        self._session = None

    @contextmanager
    def contained(self, uid: str) -> Iterator[None]:
        """Whatever goes wrong with one experiment stays with it; only a store that is away is everybody's trouble."""
        try:
            yield
        except LostError:
            self._quarantine.lose(uid, self.replicas.pop(uid, None))
        except PartAwayError:
            self.away |= {uid}
            self._sessions.pop(uid, None)  # to be loaded once it is back
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the others learn on
            self._shut(uid, error)

    def load(self, uid: str) -> None:
        """Checkpoint and tail, up to what the store has now. UnavailableError."""
        with self.contained(uid):
            before = self.replicas.get(uid)
            replica, sound = self._stored(uid)
            more = True
            while more:
                poll = self._store.poll({uid: replica.cursor}, _ENTRIES, listed=False)
                if uid in poll.rewound:
                    raise CorruptError(
                        f"the log does not have the entry {replica.cursor}: what came after it is missing"
                    )
                replica.fold(poll.of(uid))
                more = poll.more
            if not sound and replica.begun:
                replica.heal()
            if before is not None and replica.begun and self._end_lost(before, replica):
                self._log.error(
                    "the store has lost the end of a log that was read; going on from what it has",
                    read_to=before.cursor, **self._quarantine.labels(uid),
                )  # fmt: skip
                self._gauges.end_lost(replica.experiment.name)
            self._quarantine.release(uid)
            self._gauges.loaded(replica, diverged=self._checkpoints.diverged(uid))
            self.replicas[uid] = replica
            self._seen[uid] = None

    def _end_lost(self, before: Replica, now: Replica) -> bool:
        """Whether the log no longer has what was read of it, and was not only trimmed."""
        read_to, has_to = order(before.cursor), order(now.cursor)
        if has_to <= read_to:
            return has_to < read_to
        uid = before.uid
        after = self._store.poll({uid: before.cursor}, 1, listed=False)
        if not after.of(uid) or uid not in after.rewound:
            return False
        first = self._store.poll({uid: START}, 1, listed=False).of(uid)
        return bool(first) and order(first[0].id) <= read_to

    def _stored(self, uid: str) -> tuple[Replica, bool]:
        """What the store has of an experiment, before the log's tail; false if the stored checkpoint is no good."""
        loaded, past = self._store.load(uid), StoredPast(self._store, uid)
        why = loaded.damaged
        if not why:
            try:
                return Replica(uid, loaded, past), True
            except CorruptError as error:
                why = str(error)
        labels = self._quarantine.labels(uid)
        self._log.error("a checkpoint is damaged; reading the log from its beginning", error=why, **labels)
        return Replica(uid, Loaded(loaded.record), past), False

    def _shut(self, uid: str, error: Exception) -> None:
        """It is served from its last snapshot until it can be loaded again."""
        self.replicas.pop(uid, None)
        self._quarantine.shut(uid, error)

    def _drop_unlisted(self, known: set[str]) -> None:
        gone = {*self.replicas, *self._publisher, *self._quarantine} - known
        deleted = self._store.deleted(gone) if gone else frozenset[str]()
        for uid in gone:
            if uid in deleted:
                self._deleted(uid)
            else:
                self._quarantine.lose(uid, self.replicas.pop(uid, None))

    def _deleted(self, uid: str) -> None:
        name = self._quarantine.labels(uid).get("experiment")
        self.replicas.pop(uid, None)
        self._sessions.pop(uid, None)
        self._publisher.forget(uid)
        self._quarantine.forget(uid)
        self._checkpoints.forget(uid)
        if self.sharing is not None:
            self.sharing.forget(uid)
        if name is not None:
            self._gauges.deleted(name, self.replicas.values())
