"""Data taken back, and given back: exclusions over the store."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from bandits.cells import GROUPS
from bandits.periods import DAY
from service.errors import ConflictError, InvalidError
from service.experiment.compiled import Experiment, read
from service.experiment.exclusions import Excluded, excluding, including
from service.learning.feed import Feed
from service.learning.fold.aside import MARGIN_MS
from service.learning.fold.past import StoredPast, reaches
from service.learning.replica import Replica
from service.serving.published import Published
from service.serving.store_clock import StoreClock
from service.store.contract import Put, Store
from service.store.scripts import order

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Decisions that do not count, in words for people: `trials` of them so far. `arms` empty: all."""

    number: int
    from_ms: int
    to_ms: int
    arms: tuple[str, ...]
    trials: int


class Exclusions:
    """Writes them, and returns once they are in force here."""

    def __init__(self, store: Store, directory: Published, feed: Feed, clock: StoreClock) -> None:
        self._store = store
        self._directory = directory
        self._feed = feed
        self._clock = clock

    def exclude(self, name: str, what: Excluded, by: str) -> tuple[Experiment, Exclusion]:
        """Experiments.exclude."""
        for attempt in range(_ATTEMPTS):
            self._feed.refresh()
            current = self._directory.named(name).experiment
            record = excluding(current, what, self._clock.now_ms(), by)
            since = self._kept(name, current.uid, what.from_ms)
            try:
                self._store.put(Put(current.uid, name, current.version + 1, current.version, record, since=since))
                break
            except ConflictError:
                if attempt == _ATTEMPTS - 1:
                    raise
        self._feed.spread()
        made = read(record)
        return made, next(one for one in self.of(name) if one.number == made.excluded)

    def include(self, name: str, number: int, by: str) -> tuple[Experiment, Exclusion]:
        """Experiments.include."""
        self._feed.refresh()
        current = self._directory.named(name).experiment
        record = including(current, number, self._clock.now_ms(), by)
        known = next(one for one in self.of(name) if one.number == number)
        self._store.put(Put(current.uid, name, current.version + 1, current.version, record))
        self._feed.spread()
        return read(record), known

    def of(self, name: str) -> tuple[Exclusion, ...]:
        """Those of an experiment that are in force."""
        return self._feed.inspect(name, lambda _, replica, __: exclusions_in(replica))

    def _kept(self, name: str, uid: str, from_ms: int) -> str:
        """The entry from which on the log is needed. InvalidError where it does not reach back so far."""
        begun: int = self._feed.inspect(name, lambda _, replica, __: replica.state.periods.begun)
        whole = begun - begun % DAY + DAY if begun else 0
        first = StoredPast(self._store, uid).first()
        if first is None or from_ms < whole or not reaches(first, from_ms - MARGIN_MS):
            earliest = max(whole, first.time + MARGIN_MS if first is not None else 0)
            at = dt.datetime.fromtimestamp(-(-earliest // 1000), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise InvalidError.field(
                "from_ms", f"the log is kept since {at} only: of what came before, single decisions are no longer known"
            )
        return max(first.id, f"{max(from_ms - MARGIN_MS, 0)}-0", key=order)


def exclusions_in(replica: Replica) -> tuple[Exclusion, ...]:
    """Those in force at a replica."""
    experiment, found = replica.experiment, []
    for one in experiment.exclusions:
        state = replica.asides.states[one.number]
        trials = sum(int(state.lifetime(s)[:, :GROUPS].sum()) for s in range(state.rules.segments))
        arms = tuple(experiment.arms[arm].id for arm in one.arms)
        found.append(Exclusion(one.number, one.from_ms, one.to_ms, arms, trials))
    return tuple(found)
