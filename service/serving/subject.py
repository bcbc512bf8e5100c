"""Who a choice is for, as numbers: the subject is hashed with a key that never rotates, and never stored."""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidError

SUBJECT_BYTES = 512  # in UTF-8
SURELY_SHORT = SUBJECT_BYTES // 4  # characters: none has more than four bytes

_DIGEST = struct.Struct("<QIB")
_COLUMNS = np.dtype([("subject", "<u8"), ("holdout", "<u4"), ("bucket", "u1")])
_MASK = 0xFFFFFFFFFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15


def check_subject(field: str, subject: object) -> None:
    """A subject is a text of 1 to SUBJECT_BYTES bytes, over every protocol. InvalidError names the field."""
    if subject is None or subject == "":
        raise InvalidError.field(field, "must be given: who the choice is for")
    if not isinstance(subject, str):
        raise InvalidError.field(field, "must be a text")
    if len(subject) > SURELY_SHORT and len(subject.encode()) > SUBJECT_BYTES:
        raise InvalidError.field(field, f"is longer than {SUBJECT_BYTES} bytes")


def check_subjects(field: str, subjects: Sequence[str]) -> None:
    """The same of many texts; InvalidError names the first that is wrong."""
    if all(subjects) and max(map(len, subjects), default=0) <= SURELY_SHORT:
        return
    for place, subject in enumerate(subjects):
        if not subject or len(subject) > SURELY_SHORT:  # a name is put together for few of ten thousand
            check_subject(f"{field}[{place}]", subject)


class Identity(NamedTuple):
    """A subject within one experiment: every number is independent of the others and of other experiments."""

    subject: int  # 64-bit hash, carried in tokens to recognise the subject
    holdout: int  # 32 bits: in the holdout if below share * 2^32
    bucket: int  # 0..255, the unit of lift variances


class Hasher:
    """Keyed hash of subjects, salted by experiment."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.blake2b(key, digest_size=32, person=b"lever-subject").digest()
        self._salted = functools.lru_cache(maxsize=4096)(self._salt)  # of each experiment; only ever copied

    def identify(self, subject: str, uid: str) -> Identity:
        """The subject's numbers in this experiment."""
        salted = self._salted(uid).copy()
        salted.update(subject.encode())
        return tuple.__new__(Identity, _DIGEST.unpack(salted.digest()))

    def identify_many(self, subjects: Sequence[str], uid: str) -> NDArray[np.void]:
        """The same for many subjects, as columns `subject`, `holdout`, `bucket`."""
        salted = self._salted(uid)
        digests = []
        for subject in subjects:
            one = salted.copy()
            one.update(subject.encode())
            digests.append(one.digest())
        return np.frombuffer(b"".join(digests), _COLUMNS)

    def _salt(self, uid: str) -> hashlib.blake2b:
        return hashlib.blake2b(digest_size=_DIGEST.size, key=self._key, salt=uid.encode())


def decision_unit(prefix: int, counter: int) -> int:
    """The unit of a draw that belongs to one decision."""
    return (prefix + (counter + 1) * _GOLDEN) & _MASK


def sticky_unit(subject: int, period: int) -> int:
    """The unit of a draw that a subject's visits share for one period (its number since 1970)."""
    return (subject + (period + 1) * _GOLDEN) & _MASK


def decision_units(prefix: int, first: int, n: int) -> NDArray[np.uint64]:
    """decision_unit of n counters from `first` on."""
    counters = np.arange(first + 1, first + 1 + n, dtype=np.uint64)
    return np.uint64(prefix) + counters * np.uint64(_GOLDEN)


def sticky_units(subjects: NDArray[np.uint64], period: int) -> NDArray[np.uint64]:
    """sticky_unit of many subjects."""
    return subjects + np.uint64((period + 1) * _GOLDEN & _MASK)
