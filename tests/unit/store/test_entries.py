"""The one decoder of log entries: what is written is read back, and no damage passes for an entry."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import CorruptError
from service.store.contract import Entry
from service.store.entries import decode, encode, misfit, rows_of
from service.store.rows import HEAD, TAIL

totals = st.tuples(st.integers(-(2**53), 2**53), st.integers(-(2**53), 2**53), st.booleans())


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Any entry that a script may write."""
    kind = draw(st.sampled_from(("config", "seeded", "trials", "rewards", "late")))
    if kind in ("config", "seeded"):
        return Entry("1-1", config=draw(st.binary(min_size=1, max_size=40)), seeded=kind == "seeded")
    columns, count = draw(st.integers(0, 4)), draw(st.integers(1, 3))
    stride = HEAD.itemsize + 2 * columns + (TAIL.itemsize if kind != "trials" else 0)
    rows = draw(st.binary(min_size=stride * count, max_size=stride * count))
    if kind == "trials":
        return Entry("1-1", stride, trials=rows)
    if kind == "late":
        return Entry("1-1", stride, rewards=rows, late=True)
    return Entry("1-1", stride, rewards=rows, totals=draw(st.lists(totals, min_size=count, max_size=count)))


@given(entries())
def test_what_is_written_is_read_back(entry: Entry) -> None:
    assert decode("1-1", encode(entry)) == entry
    old = {name: value for name, value in encode(entry).items() if name != b"k"}
    assert decode(b"1-1", old) == entry, "as it was before there were checksums"


@given(entries(), st.data())
@settings(max_examples=500)
def test_no_byte_can_be_changed_cut_or_removed(entry: Entry, data: st.DataObject) -> None:
    fields = encode(entry)
    name = data.draw(st.sampled_from(sorted(fields)))
    value = fields[name]
    match data.draw(st.sampled_from(("flip", "cut", "field"))):
        case "flip":
            at = data.draw(st.integers(0, len(value) - 1))
            bad = bytes([value[at] ^ data.draw(st.integers(1, 255))])
            fields[name] = value[:at] + bad + value[at + 1 :]
        case "cut":
            at = data.draw(st.integers(0, len(value) - 1))
            fields[name] = value[:at] + value[at + 1 :]
        case _:
            del fields[name]
    with suppress(CorruptError):
        assert decode("1-1", fields) == entry, "what is let through says the same"


@given(st.dictionaries(st.sampled_from((b"c", b"t", b"r", b"l", b"s", b"o", b"k", b"x")), st.binary(max_size=150)))
def test_whatever_stands_there_is_an_entry_or_corrupt(fields: dict[bytes, bytes]) -> None:
    try:
        entry = decode("1-1", fields)
    except CorruptError:
        return
    assert entry.config is not None or len(rows_of(entry))


@pytest.mark.parametrize("stride", [0, -58, 1, 55, 57, 59, 10**9])
def test_a_stride_that_is_none_is_refused(stride: int) -> None:
    assert misfit(stride, 116, rewards=False)
    with pytest.raises(CorruptError):
        decode("1-1", {b"t": bytes(116), b"s": b"%d" % stride})


@pytest.mark.parametrize(
    "told", [b"0:1:1,0:1:0", b"0:1", b"0:99999999999999999999:1", b"0:1:2", b"0:1_0:1", b"", b"a:b:1"]
)
def test_totals_that_are_none_are_refused(told: bytes) -> None:
    stride = HEAD.itemsize + TAIL.itemsize
    with pytest.raises(CorruptError, match="totals"):
        decode("1-1", {b"r": bytes(stride), b"s": b"%d" % stride, b"o": told})
