"""What a version of Lever keeps is read by the next one, and refused by the one before where it cannot be understood."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import msgspec
import pytest

from service.errors import CorruptError, InvalidError, UnavailableError
from service.experiment.compiled import build, read
from service.experiment.parse import parse
from service.learning.fold.digests import digest_of
from service.learning.replica import FORMAT, Replica
from service.serving.token import NONCE, WHAT, WHOSE, TokenKeys
from service.store.contract import Checkpoint, Entry, Loaded
from service.store.entries import decode, encode
from service.store.rows import HEAD_STRUCT, TAIL_STRUCT, pad

START = 1_767_225_600_000
TEXT = """
experiment: shop
arms: [{id: a}, {id: b}, {id: c}]
default_arm: a
algorithm: linucb
holdout: {share: 0.2}
features: {visits: {type: number, min: 0, max: 10}, paid: {type: flag}}
segments: [{id: paid, when: {paid: true}}]
metrics: [{id: order, primary: true, window: 7d}, {id: spend, unit: 0.01, min: -50, max: 50, window: 7d}]
guardrails: [{metric: order, max_drop: 0.5}]
"""
KEYS = TokenKeys([b"a key that is used for tests only"])

# What `log` comes to in each format. A fold that comes to something else would differ from servers of the version before,
# which is an alarm (`lever_divergence`): it takes a new STATE_FORMAT (docs/design.md, formats), and a line here.
COMES_TO = {
    b"3": "c3465bc61bde854444d6951199a24811041cbae1d1a448cbcbb165795ec2e62c",
    b"4": "1ae6d6fb2c618dbd8df599ba0c9075c2c20c62e42e9a25d0098d7a7902461908",
}


def record(version: int = 1) -> bytes:
    """A version of the configuration; the second has an arm more."""
    made = build(parse(TEXT), TEXT, "ab12", START, None)
    for later in range(2, version + 1):
        text = TEXT.replace("{id: c}", "{id: c}, {id: d}")
        made = build(parse(text), text, "ab12", START + later * 1000, read(made))
    return made


def log() -> list[Entry]:
    """Trials, exposures, rewards, retractions and late rewards of every kind of row, over 20 days and two versions."""
    rng, entries, now = random.Random(1), [Entry(f"{START}-0", config=record())], START
    for number in range(120):
        now += rng.randrange(1, 28_800_000)
        if number == 60:
            entries.append(Entry(f"{now}-0", config=record(2)))
        version, arms = (2, 4) if number >= 60 else (1, 3)
        rows, totals = [], []
        kind = rng.choice("ttrrl")
        for counter in range(rng.randrange(1, 12)):
            decided = now - rng.randrange(min(now - START, 86_400_000) + 1)
            flags = rng.choice([0, 0, 0, 0, 1, 2, 4, 8, 32, 33, 128])
            head = HEAD_STRUCT.pack(
                number, counter, version, decided, rng.getrandbits(64), rng.choice([1.0, 0.5, 0.25, 0.03125]),
                rng.randrange(2), rng.randrange(arms), flags, rng.randrange(256), 0,
            )  # fmt: skip
            x = b"".join(rng.randrange(-4096, 4097).to_bytes(2, "little", signed=True) for _ in range(4))
            rows.append(pad(head + (b"" if kind == "t" else TAIL_STRUCT.pack(rng.randrange(2))) + x, 0))
            old = rng.choice([0, 0, 1])
            totals.append((old, 1 - old, rng.choice([0, 0, 1])))
        packed, stride = b"".join(rows), len(rows[0])
        if kind == "t":
            entries.append(Entry(f"{now}-1", stride, trials=packed))
        else:
            entries.append(
                Entry(f"{now}-1", stride, rewards=packed, totals=() if kind == "l" else totals, late=kind == "l")
            )
    return entries


def test_a_fold_that_comes_to_something_else_has_another_format() -> None:
    replica = Replica("ab12", Loaded(record()))
    replica.fold([decode(entry.id, encode(entry)) for entry in log()])
    fields = {name: value for name, value in replica.fields().items() if name != "config"}
    assert replica.rows > 500
    assert digest_of(fields) == COMES_TO[FORMAT], "give checkpoints a new STATE_FORMAT (docs/design.md, formats)"


def test_a_checkpoint_of_the_format_before_is_read() -> None:
    """It only lacks when an arm that is closed now could be drawn, and here is none."""
    replica = Replica("ab12", Loaded(record()))
    replica.fold(log())
    fields = dict(replica.fields()) | {"format": b"3"}
    older = Checkpoint(replica.cursor, None, replica.rows, sum(map(len, fields.values())), digest_of(fields), fields)
    assert Replica("ab12", Loaded(record(), older)).fields() == replica.fields()


def test_a_record_says_nothing_that_older_versions_need_not_know() -> None:
    """What is new and not used is left out, so that the version before reads it: see spec.Kept. Fields are only added here
    with what makes older versions refuse them on purpose.
    """
    known = {
        "format", "uid", "version", "applied_at_ms", "text", "spec", "numbers", "pauses", "experiment", "description",
        "state", "winner", "start_ms", "end_ms", "arms", "id", "payload", "default_arm", "algorithm", "name", "features",
        "visits", "paid", "type", "min", "max", "segments", "when", "feature", "flag", "metrics", "primary", "unit",
        "window_ms", "grace_ms", "aggregate", "clip", "credit_half_life_ms", "holdout_share", "holdout_uniform",
        "sticky_ms", "half_life_ms", "keep_ms", "keep_bytes", "guardrails", "metric", "kind", "limit", "columns", "role",
        "grid",
    }  # fmt: skip
    assert set(re.findall(r'"(\w+)":', re.sub(r'"text":"(\\.|[^"\\])*"', '"text":""', record().decode()))) <= known


@pytest.mark.parametrize(
    ("of", "into", "said"),
    [
        (b'"format":1', b'"format":2', "format 2; this version of Lever reads 1"),
        (b'"spec":{', b'"spec":{"cost":1,', "unknown field `cost`.*a newer version of Lever wrote it"),
        (b'"metrics":[{', b'"metrics":[{"cost":1,', "unknown field `cost`"),
        (b'"uid"', b'"since":1,"uid"', "unknown field `since`"),
    ],
)
def test_a_record_of_a_newer_version_is_refused(of: bytes, into: bytes, said: str) -> None:
    assert of in record()
    with pytest.raises(CorruptError, match=said):
        read(record().replace(of, into, 1))


def test_a_checkpoint_of_a_newer_format_is_refused() -> None:
    replica = Replica("ab12", Loaded(record()))
    replica.fold(log())
    fields = dict(replica.fields()) | {"format": b"%d" % (int(FORMAT) + 1)}
    newer = Checkpoint(replica.cursor, None, replica.rows, sum(map(len, fields.values())), digest_of(fields), fields)
    with pytest.raises(CorruptError, match=f"has format {int(FORMAT) + 1}; this version reads 1, 2, "):
        Replica("ab12", Loaded(record(), newer))


def test_an_entry_of_a_newer_format_is_refused() -> None:
    entry = next(entry for entry in log() if entry.trials)
    fields = encode(entry)
    with pytest.raises(CorruptError, match="checksum of a format that this version does not read"):
        decode(entry.id, fields | {b"k": b"2" + fields[b"k"][1:]})
    with pytest.raises(CorruptError, match="is not one of ours"):
        decode(entry.id, {b"z": b"of another kind"})
    replica = Replica("ab12", Loaded(record()))
    rows = bytearray(entry.trials or b"")
    rows[rows.find(b"\0", HEAD_STRUCT.size - 1)] = 1  # the byte that is reserved
    with pytest.raises(CorruptError, match="newer version of Lever"):
        replica.fold([log()[0], replace(entry, trials=bytes(rows))])


def test_a_decision_of_a_newer_format_can_be_sent_again_and_what_nobody_sealed_cannot() -> None:
    good = KEYS.seal(b"n" * NONCE.size, bytes(WHOSE.size + WHAT.size))
    head = bytes([3]) + good[1:2]
    nonce = good[2 : 2 + NONCE.size]
    newer = head + nonce + KEYS._encrypt(nonce, b"whatever a newer version seals", head)
    with pytest.raises(UnavailableError, match="newer version") as told:
        KEYS.open(newer)
    assert told.value.reason == "NEWER_DECISION"
    for forged in (bytes([3]) + good[1:], newer[:-1] + b"\0", bytes([0]) + good[1:], newer[:20]):
        with pytest.raises(InvalidError):
            KEYS.open(forged)


def test_msgspec_still_leaves_out_defaults() -> None:
    assert b"attributes" not in msgspec.json.encode(read(record()).spec.arms[0])
