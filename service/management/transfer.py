"""Experiments out of a store and into one: what is written out is whole, what is let in proves itself."""

from __future__ import annotations

from service.analysis.log_table import entries
from service.errors import ConflictError, CorruptError
from service.experiment.compiled import read
from service.learning.replica import intact
from service.management.experiments import restoring
from service.management.verify import complete, fold, gap
from service.store.archive import Kept
from service.store.contract import Store
from service.store.scripts import order


def take(store: Store, uid: str) -> Kept:
    """An experiment as it stands in the store, proved. LostError, CorruptError."""
    loaded = store.load(uid)
    if loaded.damaged or loaded.diverged:
        raise CorruptError(f"the stored checkpoint is no good: {loaded.damaged or 'servers differ over it'}")
    log = list(entries(store, uid))
    state = fold(uid, log, loaded.checkpoint).whole()
    kept = Kept(uid, state.fields["config"], state, log, None if complete(log) else loaded.checkpoint)
    prove(kept)
    return kept


def prove(kept: Kept) -> None:
    """CorruptError unless the state is what its digest says and what the log folds to, bit by bit."""
    ids = [order(entry.id) for entry in kept.entries]
    if not ids or ids != sorted(set(ids)) or ids[-1] != order(kept.state.id):
        raise CorruptError(f"the log of {kept.uid} is out of order, or does not end where the state is")
    if not intact(kept.state) or (kept.base is not None and not intact(kept.base)):
        raise CorruptError(f"the state of {kept.uid} does not match its digest")
    if read(kept.record).uid != kept.uid or kept.state.fields.get("config") != kept.record:
        raise CorruptError(f"the configuration of {kept.uid} is not that of its state")
    if kept.base is None and not complete(kept.entries):
        raise CorruptError(f"the log of {kept.uid} does not reach back to its beginning, and there is no checkpoint")
    if kept.base is not None and gap(kept.entries, kept.base):
        raise CorruptError(f"the log of {kept.uid} begins after its checkpoint: entries between them are missing")
    if fold(kept.uid, kept.entries, kept.base).fields() != dict(kept.state.fields):
        raise CorruptError(f"the state of {kept.uid} is not what its log comes to")


def bring(store: Store, kept: Kept) -> None:
    """Write an experiment into a store that does not have it, with its log. ConflictError, CorruptError."""
    prove(kept)
    poll = store.poll({})
    name = read(kept.record).name
    if kept.uid in poll.registry.values() or name in poll.registry:
        raise ConflictError(f"experiment {name!r} ({kept.uid}), or its name, is in the store already")
    store.put(restoring(kept.uid, kept.state, poll.now, kept.entries))
