"""The rows of the log: fixed little-endian layouts, read by numpy and written by whoever decides.

A *trial* row is a HEAD and the rounded features. A *reward* row is a HEAD, a TAIL and the features; what only
the store knows (old total, new total, whether it exposes) stands beside it in the entry. An exposure is a reward
row whose metric is NO_METRIC. Features are int16 in units of 2^-12, column 0 (the constant) is not written;
shorter rows of one entry are padded with zeros, so an entry has one stride.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

# What a row says about its decision.
HOLDOUT = 1  # the subject is in the holdout
DEFERRED = 2  # not a trial before it is exposed
HISTORY = 4  # imported, not served
FIXED = 8  # the default arm without a draw: teaches nothing
UNCOUNTED = 16  # preview, bot or inactive: never logged, only in tokens
STICKY = 32  # the unit is (subject, period)

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
HEAD_STRUCT = struct.Struct("<QIIqQdHHHBB")
TAIL = np.dtype([("metric", "<u2")])
TAIL_STRUCT = struct.Struct("<H")

assert HEAD.itemsize == HEAD_STRUCT.size == 48


def trial_dtype(columns: int) -> np.dtype[np.void]:
    """Layout of a trial row with `columns` feature columns beside the constant."""
    return np.dtype([*HEAD.descr, ("x", "<i2", (columns,))])


def reward_dtype(columns: int) -> np.dtype[np.void]:
    """Layout of a reward row with `columns` feature columns beside the constant."""
    return np.dtype([*HEAD.descr, *TAIL.descr, ("x", "<i2", (columns,))])


def pad(row: bytes, size: int) -> bytes:
    """The row with zero features appended up to `size` bytes."""
    return row.ljust(size, b"\0")


Rows = NDArray[np.void]
