"""The decision id: an authenticated, encrypted record of the decision itself.

Layout: format (1 byte), key id (1), nonce (12: prefix u64 and counter u32, little endian, which also name the claim),
AES-256-GCM ciphertext and tag; format and key id are authenticated too. So much is the same in every format: a server
tells what a newer one sealed from what nobody did. Inside: experiment uid, subject hash, how
long claims must live, then exactly what a row of the log says of the decision (rows.HEAD without its first two
fields, and the features). So a row is the nonce and the inside's tail: the same bytes are sealed and logged.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from service.errors import InvalidError, UnavailableError
from service.store.rows import NAME_STRUCT, WHAT_STRUCT, packing

FORMAT = 1
_WRAPPED = 2  # in the place of the format, of what is no decision
NONCE, WHAT = NAME_STRUCT, WHAT_STRUCT
_WHOSE = np.dtype([("uid", "<u8"), ("subject", "<u8"), ("horizon", "<u4")])  # the hash; in seconds
WHOSE = packing(_WHOSE, _WHOSE.names or ())
_OVERHEAD = 2 + NONCE.size + 16
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_SMALLEST = _OVERHEAD + WHOSE.size + WHAT.size


@dataclass(slots=True)  # not frozen, as a Claim is not
class Opened:
    """What a decision id says; from `version` on the fields of rows.HEAD, in their order."""

    prefix: int
    counter: int
    uid: str
    subject: int
    horizon_ms: int
    head: bytes  # the decision's rows.HEAD
    x: bytes  # its features
    version: int
    time: int
    unit: int
    propensity: float
    segment: int
    arm: int
    flags: int
    bucket: int


class Namer:
    """Gives every decision of this process its nonce: a random prefix and a counter, never the same twice.

    Single decisions and batches have a prefix each, so that the former need no lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._single = (_prefix(), itertools.count())
        self._batch = _prefix()
        self._taken = 0

    def next(self) -> tuple[int, int]:
        """A fresh (prefix, counter)."""
        single = self._single
        counter = next(single[1])  # atomic in CPython
        if counter <= _LAST:
            return single[0], counter
        with self._lock:
            if self._single is single:
                self._single = (_prefix(), itertools.count())
        return self.next()

    def take(self, n: int) -> tuple[int, int]:
        """n fresh names in a row: (prefix, first counter)."""
        with self._lock:
            if self._taken + n > _LAST:
                self._batch, self._taken = _prefix(), 0
            first = self._taken
            self._taken += n
            return self._batch, first


_LAST = 0xFFFFFFFF


def _prefix() -> int:
    return int.from_bytes(os.urandom(8), "little")


class TokenKeys:
    """Seals with the first key, opens with any. A key is 16 to 64 bytes of secret; ids are derived from it."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ValueError("at least one token key is needed")
        self._by_id: dict[int, list[AESGCM]] = {}  # an id is a byte, so two keys may share one
        for key in reversed(keys):
            derived = hashlib.blake2b(key, digest_size=33, person=b"lever-token").digest()
            cipher = AESGCM(derived[:32])
            self._by_id.setdefault(derived[32], []).insert(0, cipher)
            self._head, self._wrap = bytes([FORMAT, derived[32]]), bytes([_WRAPPED, derived[32]])
            self._encrypt = cipher.encrypt

    def seal(self, nonce: bytes, plain: bytes) -> bytes:
        """The token of `plain` (WHOSE + WHAT + features) under a nonce used once."""
        head = self._head
        return head + nonce + self._encrypt(nonce, plain, head)

    def seal_many(self, nonces: Sequence[bytes], plains: Sequence[bytes]) -> list[bytes]:
        """The same for many, each with its nonce."""
        head, encrypt = self._head, self._encrypt
        return [head + nonce + encrypt(nonce, plain, head) for nonce, plain in zip(nonces, plains, strict=True)]

    def open(self, token: bytes) -> Opened:
        """What the token says; InvalidError if it was not sealed by one of the keys, UnavailableError if by a newer Lever."""
        if len(token) < _OVERHEAD or token[0] < FORMAT or token[0] == _WRAPPED:
            raise _forged()
        if token[0] != FORMAT:
            self._decrypted(token)
            raise UnavailableError(
                "the decision id is a newer version's: send it again, another server or this one, once upgraded, reads it",
                "NEWER_DECISION",
            )
        if len(token) < _SMALLEST:
            raise _forged()
        nonce, plain = token[2 : 2 + NONCE.size], self._decrypted(token)
        uid, subject, horizon_s = WHOSE.unpack_from(plain)
        *what, _ = WHAT.unpack_from(plain, WHOSE.size)
        prefix, counter = NONCE.unpack(nonce)
        cut = WHOSE.size + WHAT.size
        return Opened(
            prefix, counter, f"{uid:016x}", subject, horizon_s * 1000, nonce + plain[WHOSE.size : cut], plain[cut:], *what,
        )  # fmt: skip

    def wrap(self, plain: bytes) -> bytes:
        """Something that is no decision, sealed for a caller to keep."""
        nonce = os.urandom(NONCE.size)
        return self._wrap + nonce + self._encrypt(nonce, plain, self._wrap)

    def unwrap(self, sealed: bytes) -> bytes:
        """What was wrapped; InvalidError if it was not by one of the keys."""
        if len(sealed) < _OVERHEAD or sealed[0] != _WRAPPED:
            raise _forged()
        return self._decrypted(sealed)

    def _decrypted(self, sealed: bytes) -> bytes:
        start = 2 + NONCE.size
        for cipher in self._by_id.get(sealed[1], ()):
            try:
                return cipher.decrypt(sealed[2:start], sealed[start:], sealed[:2])
            except InvalidTag:
                continue
        raise _forged()


def told(
    rows: NDArray[np.void], uid: str, subjects: NDArray[np.uint64], horizon_ms: int
) -> tuple[list[bytes], list[bytes]]:
    """Nonces of n trial rows of one experiment, and what their tokens say; subjects are hashes, u8[n]."""
    n, size = len(rows), rows.dtype.itemsize
    whose = np.zeros(n, _WHOSE)
    whose["uid"], whose["subject"], whose["horizon"] = int(uid, 16), subjects, horizon_ms // 1000 + 1
    cells = rows.view(np.uint8).reshape(n, size)
    plain = np.hstack([whose.view(np.uint8).reshape(n, WHOSE.size), cells[:, NONCE.size :]])
    return _texts(cells[:, : NONCE.size]), _texts(plain)


def _texts(cells: NDArray[np.uint8]) -> list[bytes]:
    """The bytes of each row of u1[n, size]."""
    texts: list[bytes] = np.ascontiguousarray(cells).view(f"V{cells.shape[1]}").ravel().tolist()
    return texts


@lru_cache(4096)
def whose(uid: str, horizon_ms: int) -> Callable[[int], bytes]:
    """What a token says before its row, of a subject's hash: for the decisions of one experiment."""
    pack, number, horizon_s = WHOSE.pack, int(uid, 16), horizon_ms // 1000 + 1
    return lambda subject: pack(number, subject, horizon_s)


def _forged() -> InvalidError:
    return InvalidError.field("decision_id", "not a decision id of this service")


def to_text(token: bytes) -> str:
    """The token as unpadded URL-safe base64."""
    return binascii.b2a_base64(token, newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def from_text(text: str) -> bytes:
    """The token's bytes; InvalidError if the text is not unpadded URL-safe base64."""
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise _forged() from None
