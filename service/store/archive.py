r"""Experiments as bytes that prove themselves: what an exported file and a server's snapshot file consist of.

lever-archive-1\n | SHA-256 of the rest | zlib(MessagePack([Archived, ...]))
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

import msgspec

from service.errors import CorruptError
from service.store.contract import Checkpoint, Entry

MAGIC = b"lever-archive-1\n"
_HEAD = len(MAGIC) + 32


class Archived(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One experiment: its configuration in force, its state at a log id, and, in an export, the log up to there.

    `base` is the checkpoint that was stored, for a log that does not reach back to the beginning.
    """

    uid: str
    record: bytes
    state: Checkpoint
    entries: list[Entry] = []
    base: Checkpoint | None = None


def pack(kept: Sequence[Archived], level: int = 6) -> bytes:
    """The experiments as one file."""
    body = zlib.compress(msgspec.msgpack.encode(kept), level)
    return MAGIC + hashlib.sha256(body).digest() + body


def unpack(data: bytes) -> list[Archived]:
    """The experiments of a file. CorruptError unless it is one, whole and unchanged."""
    if not data.startswith(MAGIC):
        raise CorruptError("not a Lever archive of a version that this Lever reads")
    body = data[_HEAD:]
    if hashlib.sha256(body).digest() != data[len(MAGIC) : _HEAD]:
        raise CorruptError("the archive does not match its checksum: it was cut or changed")
    try:
        return msgspec.msgpack.decode(zlib.decompress(body), type=list[Archived])
    except (zlib.error, msgspec.MsgspecError) as error:
        raise CorruptError(f"the archive does not decode: {error}") from error
