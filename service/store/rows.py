"""The rows of the log: fixed little-endian layouts, read by numpy and written by whoever decides.

A *trial* row is a HEAD and the rounded features. A *reward* row is a HEAD, a TAIL and the features; what only
the store knows (old total, new total, whether it exposes) stands beside it in the entry. An exposure is a reward
row whose metric is NO_METRIC. Features are int16 and flags are bits (bandits/layout.py); column 0 (the constant) is not
written; shorter rows of one entry are padded with zeros, so an entry has one stride. The scripts of the store know
where the time stands, and a test holds them to it.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_METRIC = 0xFFFF

# prefix and counter are the token's nonce and name the decision; time is milliseconds of store time.
HEAD = np.dtype(
    [
        ("prefix", "<u8"),
        ("counter", "<u4"),
        ("version", "<u4"),
        ("time", "<i8"),
        ("unit", "<u8"),
        ("propensity", "<f8"),
        ("segment", "<u2"),
        ("arm", "<u2"),
        ("flags", "<u2"),
        ("bucket", "u1"),
        ("reserved", "u1"),
    ]
)
TAIL = np.dtype([("metric", "<u2")])


_CODES = {"u8": "Q", "i8": "q", "f8": "d", "u4": "I", "u2": "H", "u1": "B"}  # of numpy, of struct


def packing(layout: np.dtype[np.void], names: Sequence[str]) -> struct.Struct:
    """Packs these fields of a layout, which stand side by side, as numpy reads them."""
    return struct.Struct("<" + "".join(_CODES[layout[name].str[1:]] for name in names))


FIELDS = HEAD.names or ()
HEAD_STRUCT = packing(HEAD, FIELDS)
NAME_STRUCT = packing(HEAD, FIELDS[:2])  # of the decision: prefix and counter
WHAT_STRUCT = packing(HEAD, FIELDS[2:])  # what the head says beside its name
TAIL_STRUCT = packing(TAIL, TAIL.names or ())
TIME = FIELDS.index("time")  # its place among what HEAD_STRUCT unpacks


def flagged(row: bytes, bit: int) -> bytes:
    """The row with a bit of its flags set."""
    flags = HEAD.fields["flags"][1] if HEAD.fields is not None else 0
    return (
        row[:flags] + (int.from_bytes(row[flags : flags + 2], "little") | bit).to_bytes(2, "little") + row[flags + 2 :]
    )


@functools.cache
def trial_dtype(columns: int) -> np.dtype[np.void]:
    """Layout of a trial row with `columns` feature columns beside the constant."""
    return np.dtype([*HEAD.descr, ("x", "<i2", (columns,))])


@functools.cache
def reward_dtype(columns: int) -> np.dtype[np.void]:
    """Layout of a reward row with `columns` feature columns beside the constant."""
    return np.dtype([*HEAD.descr, *TAIL.descr, ("x", "<i2", (columns,))])


class Composite(NamedTuple):
    """A metric that is a weighted sum of others: `parts` are their numbers, each with its whole weight, units for units.

    No claim remembers its total: that follows from its parts'. Whatever moves one of them has a row of its own for it.
    """

    number: int
    parts: tuple[tuple[int, int], ...]


def of_metric(row: bytes, metric: int) -> bytes:
    """The reward row, as one of another metric."""
    return row[: HEAD.itemsize] + TAIL_STRUCT.pack(metric) + row[HEAD.itemsize + TAIL.itemsize :]


def pad(row: bytes, size: int) -> bytes:
    """The row with zero features appended up to `size` bytes."""
    return row.ljust(size, b"\0")


Rows = NDArray[np.void]
