"""Who was on the list before: 64-bit hashes in sorted runs, the long ones in files, so that any list can be looked through.

Of a hundred million recipients one is taken for another with a chance of 1 in 3,700.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_IN_MEMORY = 1 << 16  # hashes of a run that is kept in memory


def hashes_of(subjects: Sequence[str], salt: str) -> Hashes:
    """A number below 2^64 for each, u8[n]; with another salt they are others."""
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    blank, digests = hashlib.blake2b(key=key, digest_size=8), []
    for subject in subjects:
        one = blank.copy()
        one.update(subject.encode())
        digests.append(one.digest())
    return np.frombuffer(b"".join(digests), np.uint64)


class Seen:
    """A set of hashes."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Which of these come for the first time, bool[n]; all are known afterwards."""
        fresh = np.zeros(len(hashes), np.bool_)
        run, first = np.unique(hashes, return_index=True)
        known = np.zeros(len(run), np.bool_)
        for other in self._runs:
            at = np.searchsorted(other, run)
            at[at == len(other)] = 0
            known |= other[at] == run
        fresh[first[~known]] = True
        if not known.all():
            self._keep(run[~known])
        return fresh

    def _keep(self, run: Hashes) -> None:
        """Runs double in length, so that there are few of them and each hash is moved a few times."""
        self._runs.append(run)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            both = np.concatenate([self._runs.pop(), self._runs.pop()])
            both.sort(kind="stable")
            self._runs.append(both if len(both) <= _IN_MEMORY else _on_disk(both))


def _on_disk(run: Hashes) -> Hashes:
    with tempfile.TemporaryFile() as file:
        file.write(run.data)
        file.flush()
        return np.memmap(file, np.uint64, "r")
