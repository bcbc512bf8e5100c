"""Whether two folds came to the same: digests of their fields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from service.store.contract import Checkpoint


def digest(digests: Mapping[str, bytes]) -> str:
    """SHA-256 over the fields' names and digests in order; the same for the same state, however it came about."""
    whole = hashlib.sha256()
    for name in sorted(digests):
        whole.update(name.encode() + b"\0" + digests[name])
    return whole.hexdigest()


def intact(checkpoint: Checkpoint) -> bool:
    """Whether a whole checkpoint is what its digest says."""
    return digest_of(checkpoint.fields) == checkpoint.digest


def digest_of(fields: Mapping[str, bytes]) -> str:
    """`digest` of the fields themselves."""
    return digest({name: field_digest(value) for name, value in fields.items()})


def field_digest(value: bytes) -> bytes:
    """SHA-256 of one field."""
    return hashlib.sha256(value).digest()
