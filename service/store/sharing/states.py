"""Where one server leaves what it has added up, for the others to load in place of adding up the same rows.

One key an experiment, in a checkpoint's form: the state, and whose it is. It goes by itself a second after its owner wrote
it last, and is the lease too: while it is there nobody else writes it. Nothing depends on it. Whoever does not find it, or
cannot read it, reads the log.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple

from service.errors import CorruptError
from service.store.contract import Checkpoint
from service.store.scripts import Keys, Script, checkpoint_arguments, decode_checkpoint, entry_id, pairs
from service.store.wire.wire import Wire

LEASE_MS = 1000


class Offered(enum.Enum):
    """What became of a state that was offered."""

    TAKEN = "TAKEN"
    OTHER = "OTHER"  # another server adds up
    STALE = "STALE"  # what it stands on is not there (any more), or the log has no such entry


class Shared(NamedTuple):
    """A state that was added up, and the head of the checkpoint that the store had then."""

    state: Checkpoint
    stored: Checkpoint | None


class States:
    """The states of one store. Calls raise UnavailableError as those of a Store do. `lease_ms` is a state's life."""

    def __init__(self, wire: Callable[[], Wire], keys: Keys, lease_ms: int = LEASE_MS) -> None:
        self._wired = wire
        self._keys = keys
        self._lease_ms = lease_ms
        self._share = Script.load("share")

    def offer(self, uid: str, owner: str, state: Checkpoint, stored: Checkpoint | None) -> Offered:
        """Keep a state for the others. It may stand on the one that the same owner offered last (`base`)."""
        keys = self._keys
        tagged = keys.config(uid), keys.log(uid), keys.state(uid)
        head = "" if stored is None else f"{stored.id}:{stored.rows}:{stored.size}"
        arguments = owner, self._lease_ms, head, *checkpoint_arguments(state)
        (answer,) = self._wired().ask(("EVAL", self._share.text, len(tagged), *tagged, *arguments))
        return Offered(answer.decode())

    def kept(self, uid: str) -> tuple[str, str] | None:
        """Whose the kept state is, and up to which entry of the log it goes. CorruptError where it is none."""
        ((owner, at),) = self._wired().ask(("HMGET", self._keys.state(uid), "owner", "id"))
        return None if owner is None else (owner.decode(errors="replace"), entry_id(at or b""))

    def witness(self, uid: str, owner: str) -> bool:
        """Whether this server is the one that adds up beside the state's owner. Two may be for a moment."""
        key, asked = self._keys.witness(uid), ("PX", self._lease_ms)
        _, found = self._wired().ask(("SET", key, owner, "NX", *asked), ("GET", key))
        if found != owner.encode():
            return False
        self._wired().ask(("SET", key, owner, *asked))
        return True

    def load(self, uid: str) -> Shared | None:
        """The kept state. CorruptError where it is none; its fields prove themselves when they are restored."""
        (reply,) = self._wired().ask(("HGETALL", self._keys.state(uid)))
        kept = dict(pairs(reply))
        state = decode_checkpoint(kept)
        return None if state is None else Shared(state, _head(kept.get(b"stored", b"")))


def _head(text: bytes) -> Checkpoint | None:
    if not text:
        return None
    try:
        at, rows, size = text.decode().split(":")
        return Checkpoint(at, None, int(rows), int(size), "", {})
    except ValueError as error:
        raise CorruptError(f"what a shared state says of the checkpoint does not decode: {error}") from error
