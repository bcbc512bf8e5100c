"""Experiments out of a store and into one: what is written out is whole, what is let in proves itself."""

from __future__ import annotations

from service.analysis.log_table import entries
from service.errors import ConflictError, CorruptError
from service.experiment.compiled import read
from service.learning.fold.digests import intact
from service.management.experiments import restoring
from service.management.verify import complete, fold, gap
from service.store.archive import Archived
from service.store.contract import Store
from service.store.scripts import order


def take(store: Store, uid: str) -> Archived:
    """An experiment as it stands in the store, proved. LostError, CorruptError."""
    loaded = store.load(uid)
    if loaded.damaged or loaded.diverged:
        raise CorruptError(f"the stored checkpoint cannot be used: {loaded.damaged or 'servers differ over it'}")
    log = list(entries(store, uid))
    state = fold(uid, log, loaded.checkpoint).whole()
    archived = Archived(uid, state.fields["config"], state, log, None if complete(log) else loaded.checkpoint)
    prove(archived)
    return archived


def prove(archived: Archived) -> None:
    """CorruptError unless the state is what its digest says and what the log folds to, bit by bit."""
    ids = [order(entry.id) for entry in archived.entries]
    if not ids or ids != sorted(set(ids)) or ids[-1] != order(archived.state.id):
        raise CorruptError(f"the log of {archived.uid} is out of order, or does not end where the state is")
    if not intact(archived.state) or (archived.base is not None and not intact(archived.base)):
        raise CorruptError(f"the state of {archived.uid} does not match its digest")
    if read(archived.record).uid != archived.uid or archived.state.fields.get("config") != archived.record:
        raise CorruptError(f"the configuration of {archived.uid} is not that of its state")
    if archived.base is None and not complete(archived.entries):
        raise CorruptError(
            f"the log of {archived.uid} does not reach back to its beginning, and there is no checkpoint"
        )
    if archived.base is not None and gap(archived.entries, archived.base):
        raise CorruptError(f"the log of {archived.uid} begins after its checkpoint: entries between them are missing")
    if fold(archived.uid, archived.entries, archived.base).fields() != dict(archived.state.fields):
        raise CorruptError(f"the state of {archived.uid} is not what its log comes to")


def bring(store: Store, archived: Archived) -> None:
    """Write an experiment into a store that does not have it, with its log. ConflictError, CorruptError."""
    prove(archived)
    poll = store.poll({})
    name = read(archived.record).name
    if archived.uid in poll.registry.values() or name in poll.registry:
        raise ConflictError(f"experiment {name!r} ({archived.uid}), or its name, is in the store already")
    store.put(restoring(archived.uid, archived.state, poll.now, archived.entries))
