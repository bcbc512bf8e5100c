"""Tables of int64 sums by key, which grow for an experiment's whole life: what nobody adds to any more is kept packed.

A page is a matrix i8[n, 1 + columns]: column 0 names its rows, in rising order, the others are sums. Packed, a column takes as
many bytes as its largest number needs and rows of zeros are left out, so equal sums are equal bytes however they came about.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Key = tuple[int, int]

_HEAD = 8  # bytes: rows and columns, <u4 each
_TYPES = {0: None, 1: "<i1", 2: "<i2", 4: "<i4", 8: "<i8"}
_WIDTHS = frozenset(_TYPES)


class Pages:
    """Pages by key, two whole numbers. Not safe for use by two threads at once."""

    def __init__(self) -> None:
        self._open: dict[Key, Ints] = {}
        self._rest: dict[Key, bytes] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._open or key in self._rest

    def __len__(self) -> int:
        return len(self._open) + len(self._rest)

    def __iter__(self) -> Iterator[Key]:
        """All keys, in order; pages may come and go meanwhile."""
        return iter(sorted([*self._open, *self._rest]))

    def opened(self) -> list[Key]:
        """Keys of the pages that are not packed."""
        return sorted(self._open)

    def page(self, key: Key, width: int = 0) -> Ints:
        """A page for reading, at least `width` columns wide: packed ones are unpacked and stay packed. KeyError."""
        page = self._open[key] if key in self._open else unpack(self._rest[key])
        return page if page.shape[1] >= width else np.pad(page, ((0, 0), (0, width - page.shape[1])))

    def rows(self, key: Key, names: Ints, width: int) -> tuple[Ints, Ints]:
        """The page, opened, at least `width` columns wide, with a row for each of these names; and where each stands in it."""
        known = self._open.pop(key, None)
        if known is None:
            packed = self._rest.pop(key, None)
            known = unpack(packed) if packed is not None else np.zeros((0, width), np.int64)
        wanted = np.unique(names)
        at = np.searchsorted(known[:, 0], wanted)
        found = at < len(known)
        found[found] = known[at[found], 0] == wanted[found]
        if not found.all() or known.shape[1] < width:
            new = np.zeros((len(known) + int((~found).sum()), max(width, known.shape[1])), np.int64)
            new[:, 0] = np.union1d(known[:, 0], wanted)
            new[np.searchsorted(new[:, 0], known[:, 0]), : known.shape[1]] = known
            known = new
        self._open[key] = known
        return known, np.searchsorted(known[:, 0], names)

    def merge(self, key: Key, into: Key) -> None:
        """Add a page to another and drop it."""
        old = self.page(key)
        self.drop(key)
        self.add(into, old)

    def add(self, key: Key, other: Ints, sign: int = 1) -> None:
        """Add the sums of a page (sign 1), or take them away (-1)."""
        page, at = self.rows(key, other[:, 0], other.shape[1])
        page[at, 1 : other.shape[1]] += sign * other[:, 1:]

    def drop(self, key: Key) -> None:
        """Forget a page."""
        self._open.pop(key, None)
        self._rest.pop(key, None)

    def close(self, key: Key) -> None:
        """Pack a page; it opens again when something is added to it."""
        packed = pack(self._open.pop(key))
        if packed:
            self._rest[key] = packed

    def fields(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Canonical: (prefix/key, bytes) of every page that is not all zeros."""
        for key in self:
            packed = self._rest[key] if key in self._rest else pack(self._open[key])
            if packed:
                yield f"{prefix}/{key[0]}/{key[1]}", packed

    def restore(self, key: Key, value: bytes) -> None:
        """Take in a packed page, in the place of what is there. ValueError where it is none."""
        _shape(value)
        self._open.pop(key, None)
        self._rest[key] = value


def pack(page: Ints) -> bytes:
    """A page as bytes, b"" where all its sums are zero."""
    page = page[page[:, 1:].any(axis=1)]
    if not len(page):
        return b""
    used = int(np.flatnonzero(page.any(axis=0))[-1]) + 1
    low, high = page[:, :used].min(axis=0), page[:, :used].max(axis=0)
    widths = [_bytes(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]
    columns = [page[:, i].astype(_TYPES[w]).tobytes() for i, w in enumerate(widths) if w]
    return b"".join((np.array([len(page), used], "<u4").tobytes(), bytes(widths), *columns))


def unpack(value: bytes) -> Ints:
    """The inverse of `pack`. ValueError where it cannot be."""
    rows, used, widths = _shape(value)
    out, at = np.zeros((rows, used), np.int64), _HEAD + used
    for i, width in enumerate(widths):
        if width:
            out[:, i] = np.frombuffer(value, _TYPES[width], rows, at)
            at += rows * width
    return out


def _shape(value: bytes) -> tuple[int, int, bytes]:
    """Rows and columns of a packed page, and of each column how many bytes its numbers have. ValueError where it is none."""
    if len(value) < _HEAD:
        raise ValueError("a page has no head")
    rows, used = int.from_bytes(value[:4], "little"), int.from_bytes(value[4:_HEAD], "little")
    widths = value[_HEAD : _HEAD + used]
    if not _WIDTHS.issuperset(widths) or len(value) != _HEAD + used + rows * sum(widths):
        raise ValueError("a page is not as long as it says")
    return rows, used, widths


def _bytes(low: int, high: int) -> int:
    """How many bytes a signed number needs for this range: 0, 1, 2, 4 or 8."""
    if low == high == 0:
        return 0
    bits = max((end if end >= 0 else ~end).bit_length() for end in (low, high)) + 1
    return next(width for width in (1, 2, 4, 8) if bits <= 8 * width)
