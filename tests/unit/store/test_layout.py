"""A fact has one home: what the scripts of the store, the tokens and the kernels say of it again is held to it here."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re

import numpy as np
import pytest

from bandits import cells, layout, pmf
from bandits.posterior import Kind
from service.serving.token import WHOSE, Opened
from service.store.claims import EXACT, MAX_EVENTS, UNNAMED, digest
from service.store.contract import Aggregate, Outcome
from service.store.rows import HEAD, HEAD_STRUCT, NAME_STRUCT, NO_METRIC, TAIL, TAIL_STRUCT, TIME, WHAT_STRUCT
from service.store.scripts import CLAIM, DECISION, Script


def constants(name: str) -> dict[str, int]:
    """The integers that a script begins with: `local A, B = 1, 2`."""
    found: dict[str, int] = {}
    for names, values in re.findall(
        r"^local ([A-Z_, ]+) = (-?\d+(?:, -?\d+)*)", Script.load(name).text.decode(), re.MULTILINE
    ):
        found |= dict(zip(names.split(", "), map(int, values.split(", ")), strict=True))
    return found


def test_the_scripts_find_the_time_where_rows_have_it() -> None:
    (_, offset) = HEAD.fields["time"][:2] if HEAD.fields else (None, -1)
    assert HEAD["time"] == np.int64
    assert constants("claim")["TIME"] == offset + 1  # Lua counts from 1
    assert constants("append")["TIME_OFFSET"] == offset
    assert constants("claim")["METRIC"] == HEAD.itemsize + 1


def test_the_claim_script_has_the_numbers_of_the_contract() -> None:
    told = constants("claim")
    assert (told["NO_METRIC"], told["MAX_EVENTS"], told["EXACT"]) == (NO_METRIC, MAX_EVENTS, EXACT)
    assert (told["APPLIED"], told["DUPLICATE"], told["LATE"]) == (Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE)
    assert (told["TOO_MANY"], told["OUT_OF_RANGE"]) == (Outcome.TOO_MANY_EVENTS, Outcome.TOTAL_OUT_OF_RANGE)
    assert (told["RETRACTED"], told["AT_BOUND"], told["UNKNOWN"]) == (
        Outcome.RETRACTED, Outcome.NOTHING_TO_LOWER, Outcome.VALUE_UNKNOWN,
    )  # fmt: skip
    assert (told["FIRST"], told["SUM"], told["MAX"]) == (Aggregate.FIRST, Aggregate.SUM, Aggregate.MAX)


def test_an_event_without_a_name_has_the_digest_of_nothing() -> None:
    nothing = base64.urlsafe_b64encode(hashlib.blake2b(b"", digest_size=6).digest())
    assert digest(b"") == UNNAMED == nothing
    assert f"local UNNAMED = '{UNNAMED.decode()}'" in Script.load("claim").text.decode()


def test_the_claim_script_unpacks_what_is_packed() -> None:
    text = Script.load("claim").text.decode()
    names = {"I4": "I", "I2": "H", "i8": "q", "B": "B", "c8": "8s"}
    claim, decision = re.findall(r"struct\.unpack\('<((?:[IiBc]\d*){2,})',", text)[::-1]
    for lua, packed in ((claim, CLAIM), (decision, DECISION)):
        assert "<" + "".join(names[code] for code in re.findall(r"[IiBc]\d*", lua)) == packed.format
    assert f"#claims / {CLAIM.size} do" in text
    assert f"claims, i * {CLAIM.size} - {CLAIM.size - 1})" in text
    assert f"#decisions / {DECISION.size}" in text
    assert f"number * {DECISION.size} + 1)" in text


def test_structs_and_arrays_read_the_same_row() -> None:
    values = (1, 2, 3, -4, 5, 0.25, 6, 7, 8, 9, 0)
    row = HEAD_STRUCT.pack(*values)
    assert len(row) == HEAD.itemsize
    assert np.frombuffer(row, HEAD)[0].tolist() == values
    assert row == NAME_STRUCT.pack(*values[:2]) + WHAT_STRUCT.pack(*values[2:])
    assert HEAD_STRUCT.unpack(row)[TIME] == -4
    assert TAIL_STRUCT.size == TAIL.itemsize
    assert WHOSE.size == 20


def test_a_token_says_the_fields_of_a_row() -> None:
    names = [field.name for field in dataclasses.fields(Opened)]
    what = (HEAD.names or ())[2:-1]
    assert names[-len(what) :] == list(what)


def test_bits_of_flags_differ() -> None:
    bits = (layout.HOLDOUT, layout.DEFERRED, layout.HISTORY, layout.UNDRAWN, layout.UNCOUNTED, layout.STICKY)
    assert [bit.bit_length() for bit in bits] == [1, 2, 3, 4, 5, 6]
    assert sum(bits) == 63


@pytest.mark.parametrize(
    ("flags", "group"),
    [
        (0, cells.POLICY),
        (layout.DEFERRED | layout.STICKY, cells.POLICY),
        (layout.HOLDOUT | layout.STICKY, cells.HELD),
        (layout.UNDRAWN | layout.DEFERRED, cells.OUTSIDE),
        (layout.HISTORY, cells.HISTORY),
    ],
)
def test_the_fold_knows_the_groups(flags: int, group: int) -> None:
    assert cells.group_of(flags) == group


def test_the_kernels_have_the_kinds_of_the_posterior() -> None:
    assert all(getattr(pmf, kind.name, kind) == kind for kind in Kind)
    assert {kind.name for kind in Kind if hasattr(pmf, kind.name)} >= {
        "LINUCB",
        "LINTS",
        "SQUARECB",
        "REVENUE",
        "OPTIMIST",
    }
