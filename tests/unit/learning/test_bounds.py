"""Rows that contradict their configuration are found, and named by their entry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import CorruptError
from service.learning.bounds import YEAR_MS, Bounds
from service.store.contract import Entry
from service.store.entries import decode, joined, rows_of
from service.store.rows import Rows, reward_dtype, trial_dtype

BOUNDS = Bounds(version=3, segments=2, arms=3, metrics=2, columns=4)
NOW = 1_700_000_000_000


def good(rewards: bool, count: int = 3, columns: int = 4) -> Rows:
    rows = np.zeros(count, reward_dtype(columns) if rewards else trial_dtype(columns))
    rows["time"], rows["version"], rows["propensity"], rows["arm"], rows["segment"] = NOW, 3, 0.5, 2, 1
    if rewards:
        rows["metric"] = 1
    return rows


def entry_of(rows: Rows) -> Entry:
    size = rows.dtype.itemsize
    if "metric" in (rows.dtype.names or ()):
        return Entry(f"{NOW}-0", size, rewards=rows.tobytes(), totals=[(0, 1, False)] * len(rows))
    return Entry(f"{NOW}-0", size, trials=rows.tobytes())


WRONG = [
    ("segment", 2), ("arm", 3), ("arm", 65535), ("metric", 2), ("time", -1), ("time", NOW + YEAR_MS + 1),
    ("time", 2**62), ("time", -(2**62)), ("propensity", 1.5), ("propensity", -0.5), ("propensity", np.inf),
    ("flags", 256), ("reserved", 1), ("x", 4097), ("x", -4097), ("x", -32768),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
@pytest.mark.parametrize("rewards", [False, True])
def test_a_row_that_contradicts_the_configuration_is_named(name: str, value: float, rewards: bool) -> None:
    rows = good(rewards)
    if name not in (rows.dtype.names or ()):
        return
    fine = entry_of(good(rewards))
    BOUNDS.check([fine], rows_of(fine))
    rows[name][1] = value
    bad = replace(entry_of(rows), id=f"{NOW}-7")
    with pytest.raises(CorruptError, match=f"{NOW}-7: row 1 "):
        BOUNDS.check([fine, bad], joined([fine, bad]))


@pytest.mark.parametrize(("name", "value"), [("flags", 256), ("flags", 32768), ("reserved", 7)])
def test_a_row_of_a_newer_version_is_said_to_be_one(name: str, value: int) -> None:
    rows = good(False)
    rows[name][2] = value
    with pytest.raises(CorruptError, match="row 2 says what only a newer version of Lever knows"):
        BOUNDS.check([entry_of(rows)], rows)


def test_columns_beyond_the_configuration_are_empty() -> None:
    rows = good(False, columns=6)
    BOUNDS.check([entry_of(rows)], rows)
    rows["x"][2, 5] = 1
    with pytest.raises(CorruptError):
        BOUNDS.check([entry_of(rows)], rows)


def test_what_history_and_newer_versions_say_is_let_through() -> None:
    rows = good(True)
    rows["propensity"], rows["flags"], rows["metric"] = np.nan, 4, 0xFFFF
    BOUNDS.check([entry_of(rows)], rows)
    rows["version"], rows["arm"] = 4, 200  # of a configuration that the log has lost
    BOUNDS.check([entry_of(rows)], rows)


@given(st.integers(0, 2**32))
@settings(max_examples=200)
def test_random_bytes_of_a_right_length_are_no_rows(seed: int) -> None:
    stride = trial_dtype(4).itemsize
    entry = decode(f"{NOW}-0", {b"t": np.random.default_rng(seed).bytes(3 * stride), b"s": b"%d" % stride})
    with pytest.raises(CorruptError):
        BOUNDS.check([entry], rows_of(entry))
