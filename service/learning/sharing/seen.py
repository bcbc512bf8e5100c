"""A state as it was loaded last, so that of the next one only what is new has to be taken over: most of it is long past."""

from __future__ import annotations

from service.errors import CorruptError
from service.learning.fold.digests import digest, field_digest
from service.learning.replica import Replica
from service.store.contract import Checkpoint


class Seen:
    """The fields of a state that a replica was restored from."""

    def __init__(self, replica: Replica, state: Checkpoint) -> None:
        self._replica = replica
        self._state = state
        self._digests = {name: field_digest(value) for name, value in state.fields.items()}

    def renew(self, replica: Replica, state: Checkpoint) -> bool:
        """Bring the replica to a later state; false where it has to be restored whole. CorruptError where that is none."""
        known = self._state.fields
        as_seen = replica is self._replica and replica.cursor == self._state.id
        if not as_seen or known.keys() - state.fields.keys():
            return False
        changed = {name: value for name, value in state.fields.items() if known.get(name) != value}
        digests = self._digests | {name: field_digest(value) for name, value in changed.items()}
        if digest(digests) != state.digest:
            raise CorruptError(f"a shared state of {replica.uid} does not match its digest")
        if not replica.renew(state, changed):
            return False
        self._state, self._digests = state, digests
        return True
