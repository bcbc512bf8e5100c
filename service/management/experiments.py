"""Experiments over the store: put, get, list, delete, restore."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.analysis.report import Report, report
from service.analysis.timeline import Asked, Timeline, gather, timeline
from service.errors import ConflictError
from service.experiment.compiled import Experiment, build, read
from service.experiment.exclusions import Excluded
from service.experiment.features.column import Value
from service.experiment.parse import parse
from service.experiment.spec import Spec
from service.learning.feed import Feed
from service.management.exclusions import Exclusion, Exclusions
from service.management.past import Past, history
from service.management.pausing import still_paused
from service.management.protocols import Experiments
from service.serving.explainer import Explainer, Reasons
from service.serving.published import Published
from service.serving.store_clock import StoreClock
from service.store.contract import Checkpoint, Entry, Event, LostError, Put, Seed, Store

EVENTS = 1000  # that a timeline shows at most
_ATTEMPTS = 5
_MARGIN_MS = 1000  # more than clocks of servers of one store differ


class StoredExperiments(Experiments):
    """Reads the published configurations; writes through the store and returns once the write is in force here."""

    def __init__(
        self, store: Store, directory: Published, feed: Feed, clock: StoreClock, explainer: Explainer, state_max: int
    ) -> None:
        self._store = store
        self._directory = directory
        self._feed = feed
        self._clock = clock
        self._explainer = explainer
        self._state_max = state_max
        self._exclusions = Exclusions(store, directory, feed, clock)

    def put(self, text: str, expected: int | None, by: str = "") -> tuple[Experiment, bool]:
        """Experiments.put."""
        given, said = text, parse(text)
        for attempt in range(_ATTEMPTS):
            self._feed.refresh()
            old = self._directory.by_name.get(said.experiment)
            current = old.experiment if old is not None else None
            check_version(said.experiment, current, expected)
            # Who names the version has seen what a guardrail did to it.
            text, spec = still_paused(given, said, current if expected is None else None)
            if current is not None and current.uid in self._feed.lost():
                raise LostError(f"the store has lost {current.name!r}: restore it, or accept the loss")
            if current is not None and current.text == text:
                return current, False
            try:
                return self._write(build_put(spec, text, current, self._clock.now_ms(), self._state_max, by)), True
            except ConflictError:
                if expected is not None or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _write(self, put: Put) -> Experiment:
        self._store.put(put)
        self._feed.spread()
        assert put.record is not None
        return read(put.record)

    def get(self, name: str) -> Experiment:
        """Experiments.get."""
        return self._directory.named(name).experiment

    def list(self) -> list[Experiment]:
        """Experiments.list."""
        return [s.experiment for _, s in sorted(self._directory.by_name.items())]

    def delete(self, name: str, expected: int | None) -> None:
        """Experiments.delete."""
        self._feed.refresh()
        current = self._directory.named(name).experiment
        check_version(name, current, expected)
        self._store.put(Put(current.uid, name, current.version, current.version, None))
        self._feed.spread()

    def restore(self, name: str) -> Experiment:
        """Experiments.restore."""
        self._feed.refresh()
        held = self._feed.held(name)
        self._write(restoring(held.uid, held.whole(), self._clock.now_ms()))
        return self._directory.named(name).experiment

    def accept_loss(self, name: str) -> None:
        """Experiments.accept_loss."""
        self._feed.refresh()
        uid = self._feed.held(name).uid
        self._store.put(Put(uid, name, 0, 0, None))
        self._feed.spread()

    def report(self, name: str) -> Report:
        """Experiments.report."""
        return self._feed.inspect(name, report)

    def timeline(self, name: str, asked: Asked) -> Timeline:
        """Experiments.timeline."""
        found = self._feed.inspect(name, lambda _, replica, stale: gather(replica, stale, asked))
        told = timeline(found)
        if found.stale:
            return told
        until = asked.to_ms or 2**62
        events = [past.event for past in self.history(name, EVENTS)]
        return replace(told, changes=tuple(event for event in events if asked.from_ms <= event.at_ms < until))

    def exclude(self, name: str, what: Excluded, by: str = "") -> tuple[Experiment, Exclusion]:
        """Experiments.exclude."""
        return self._exclusions.exclude(name, what, by)

    def include(self, name: str, number: int, by: str = "") -> tuple[Experiment, Exclusion]:
        """Experiments.include."""
        return self._exclusions.include(name, number, by)

    def exclusions(self, name: str) -> Sequence[Exclusion]:
        """Experiments.exclusions."""
        return self._exclusions.of(name)

    def explain(self, name: str, context: Mapping[str, Value]) -> Reasons:
        """Experiments.explain."""
        return self._explainer.context(name, context)

    def explain_decision(self, name: str, decision_id: str) -> Reasons:
        """Experiments.explain_decision."""
        return self._explainer.decision(name, decision_id)

    def note(self, event: Event) -> None:
        """Experiments.note."""
        self._store.journal.note(event)

    def history(self, name: str, limit: int) -> Sequence[Past]:
        """Experiments.history."""
        found = self._directory.by_name.get(name)
        events = self._store.journal.events(name, limit)
        if not events and found is None and name:
            self._directory.named(name)  # says that there is none
        versions = self._store.versions(found.experiment.uid) if found is not None else {}
        return history(events, versions, name)[:limit]


def check_version(name: str, current: Experiment | None, expected: int | None) -> None:
    """ConflictError unless the current version is the one a writer expects."""
    version = current.version if current is not None else 0
    if expected is not None and expected != version:
        raise ConflictError(f"experiment {name!r} is at version {version}, not {expected}")


def restoring(uid: str, state: Checkpoint, now_ms: int, entries: Sequence[Entry] = ()) -> Put:
    """The write that brings an experiment back from a whole checkpoint, in a store whose clock says `now_ms`."""
    record = state.fields["config"]
    experiment = read(record)
    touched = int(state.id.split("-")[0])
    # Where the new store's clock is behind the old one's: nothing that the state may hold can be claimed again.
    epoch = now_ms if now_ms > touched else touched + _MARGIN_MS
    return Put(uid, experiment.name, experiment.version, 0, record, Seed(state, epoch, entries))


def build_put(spec: Spec, text: str, current: Experiment | None, now_ms: int, state_max: int, by: str = "") -> Put:
    """The write that brings an experiment from `current` to what `spec` says."""
    uid = current.uid if current is not None else secrets.token_hex(8)
    record = build(spec, text, uid, now_ms, current, state_max, by)
    new = read(record)
    return Put(uid, new.name, new.version, new.version - 1, record)
