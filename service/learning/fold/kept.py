"""What a key of the store holds of a state: digests of its fields, so that only those are sent that changed since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.learning.fold.digests import digest, field_digest
from service.store.contract import Checkpoint


class Kept:
    """One key, as the one who writes it knows it. `id` "": nothing is known, and the next is written whole."""

    def __init__(self) -> None:
        self.id = ""
        self._digests: dict[str, bytes] = {}

    def step(self, whole: Checkpoint) -> Checkpoint:
        """A whole checkpoint, without its digest, as what changes the key into it."""
        fields, known = whole.fields, self._digests
        digests = {name: field_digest(value) for name, value in fields.items()}
        sized = replace(whole, size=sum(map(len, fields.values())), digest=digest(digests))
        if not self.id:
            return sized
        changed = {name: value for name, value in fields.items() if known.get(name) != digests[name]}
        return replace(sized, base=self.id, fields=changed, removed=[name for name in known if name not in fields])

    def took(self, step: Checkpoint) -> None:
        """The key holds this now."""
        for name in step.removed:
            self._digests.pop(name, None)
        if step.base is None:
            self._digests.clear()
        self._digests.update({name: field_digest(value) for name, value in step.fields.items()})
        self.id = step.id

    def holds(self, at: str, digests: Mapping[str, bytes]) -> None:
        """The key was read, whole: these are its fields' digests."""
        self.id, self._digests = at, dict(digests)

    def forget(self) -> None:
        """The key holds something else."""
        self.id, self._digests = "", {}
