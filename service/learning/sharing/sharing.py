"""Who adds up a busy experiment, and who loads what came of it.

Whoever finds no state of it kept offers its own, and goes on adding up and offering. A second one, the witness, adds up
too, so that checkpoints are compared. The others load what is offered, and read nothing of the log. Where there is none any
more, or it is old, or no good, each reads the log again from where it is: states are exact sums, the same however they were
come by.
"""

from __future__ import annotations

import secrets
import time

import structlog

from service.errors import CorruptError, UnavailableError
from service.learning.fold.kept import Kept
from service.learning.fold.past import StoredPast
from service.learning.replica import Replica
from service.learning.sharing.pace import Pace
from service.learning.sharing.seen import Seen
from service.store.contract import Loaded, Store
from service.store.scripts import order
from service.store.sharing.states import Offered, States
from service.telemetry.metrics import Metrics

EVERY_S = 0.15  # between two offers of one experiment
SHARE = 4  # making them takes at most one part in so many of the time
OLD_MS = 2000  # a state that is so far behind is left to itself
AGAIN_S = 5.0  # before states of an experiment are looked at again after one was no good


class _Offers:
    """Those of an experiment that this server adds up."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.due = 0.0


class Sharing:
    """The states of one store as this process offers and loads them. Used by the polling thread."""

    def __init__(self, states: States, store: Store, metrics: Metrics, pace: Pace) -> None:
        self._states = states
        self._store = store
        self._metrics = metrics
        self._pace = pace
        self._owner = secrets.token_hex(8)
        self._offers: dict[str, _Offers] = {}  # by uid, of those that this server adds up for all
        self._seen: dict[str, Seen] = {}  # by uid, of those that it loads
        self._after: dict[str, float] = {}  # by uid, before when nothing is looked at
        self._log = structlog.get_logger("lever.sharing")
        self.loading: set[str] = set()  # uids whose log need not be read

    def turn(self, replica: Replica, now_ms: int) -> Replica:
        """What an experiment has come to, by what another server offers, or the replica itself. `now_ms`: the store's time."""
        uid = replica.uid
        if not self._pace.busy(replica) or time.monotonic() < self._after.get(uid, 0.0):
            self.stop(uid)
            return replica
        try:
            if uid not in self._offers:
                kept = self._states.kept(uid)
                if kept is not None and kept[0] != self._owner:
                    return self._follow(replica, kept[1], now_ms)
                self._offers[uid] = _Offers()
            self.loading.discard(uid)
            self._offer(replica, self._offers[uid])
        except (UnavailableError, CorruptError) as error:  # the log goes on without
            self.stop(uid)
            self._after[uid] = time.monotonic() + AGAIN_S
            self._log.warning("states are not shared; adding up", experiment=replica.experiment.name, error=str(error))
        return replica

    def stop(self, uid: str) -> None:
        """Neither offer nor load it: the log is read."""
        self._offers.pop(uid, None)
        self._seen.pop(uid, None)
        self.loading.discard(uid)

    def forget(self, uid: str) -> None:
        """The experiment is gone."""
        self.stop(uid)
        self._pace.forget(uid)
        self._after.pop(uid, None)

    def _follow(self, replica: Replica, at: str, now_ms: int) -> Replica:
        uid, (time_ms, number) = replica.uid, order(at)
        if now_ms - time_ms > OLD_MS or self._states.witness(uid, self._owner):
            self.stop(uid)
            return replica
        self.loading.add(uid)
        if (time_ms, number) <= order(replica.cursor):
            return replica
        shared = self._states.load(uid)
        if shared is None or order(shared.state.id) <= order(replica.cursor):
            return replica
        seen = self._seen.get(uid)
        if seen is None or not seen.renew(replica, shared.state):
            replica = Replica(uid, Loaded(b"", shared.state), StoredPast(self._store, uid))
            self._seen[uid] = Seen(replica, shared.state)
        replica.superseded(shared.stored)  # it cuts where all others do
        self._metrics.states_loaded.hit((replica.experiment.name,))
        return replica

    def _offer(self, replica: Replica, offers: _Offers) -> None:
        begun = time.monotonic()
        if begun < offers.due or offers.kept.id == replica.cursor:
            return
        step = replica.step(offers.kept)
        answer = self._states.offer(replica.uid, self._owner, step, replica.stored)
        match answer:
            case Offered.TAKEN:
                offers.kept.took(step)
                self._metrics.states_offered.hit((replica.experiment.name,))
            case Offered.STALE:
                offers.kept.forget()
            case Offered.OTHER:
                self.stop(replica.uid)
        offers.due = begun + max(EVERY_S, SHARE * (time.monotonic() - begun))
