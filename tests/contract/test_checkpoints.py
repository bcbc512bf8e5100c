"""The contract of checkpoints, for every store: bases, agreement, trimming."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.errors import ConflictError
from service.store.contract import Checkpoint, Checkpointed, Put, Store
from service.store.entries import encode, weight
from service.store.scripts import order
from tests.rig.rows import HOUR, TRIAL_SIZE, create, fold, head, loaded, log, now

# checkpoint


NODE = 100 * 400  # bytes of as many entries as an engine lets go of at once
STORED, SAME, DIVERGED, STALE = Checkpointed.STORED, Checkpointed.SAME, Checkpointed.DIVERGED, Checkpointed.STALE


def fill(store: Store, entries: int, start: int = 1) -> list[str]:
    """Ids of the log after appending so many entries."""
    t = now(store)
    for i in range(start, start + entries):
        store.append("u", "w", i, TRIAL_SIZE, head(1, i, t) * 4, HOUR)
    return [entry.id for entry in log(store, "u")]


def test_a_checkpoint_comes_back_whole(store: Store) -> None:
    create(store, "u")
    ids = fill(store, 2)
    fields = {f"cell {i}": bytes([i % 256]) * (i % 50) for i in range(20_000)} | {"": b"\0\r\n", "\u00e9": b"x"}
    made = fold(ids[1], None, fields, rows=77)
    assert store.checkpoint("u", made) is STORED
    found = loaded(store)
    assert found.fields == fields
    assert (found.id, found.base, found.rows) == (ids[1], None, 77)
    assert (found.size, found.digest) == (made.size, made.digest)


def test_a_checkpoint_on_its_base_changes_only_what_changed(store: Store) -> None:
    create(store, "u")
    ids = fill(store, 3)
    store.checkpoint("u", fold(ids[0], None, {"a": b"1", "b": b"2", "c": b"3"}))
    changed = Checkpoint(ids[2], ids[0], 9, 7, "digest", {"b": b"22", "d": b"4444"}, removed=["c"])
    assert store.checkpoint("u", changed) is STORED
    assert loaded(store).fields == {"a": b"1", "b": b"22", "d": b"4444"}
    many = {f"f{i}": b"" for i in range(20_000)}
    assert store.checkpoint("u", fold(ids[3], ids[2], {"a": b"", "b": b"", "d": b""} | many)) is STORED
    t = fill(store, 1, start=4)[-1]
    assert store.checkpoint("u", Checkpoint(t, ids[3], 9, 0, "digest", {}, removed=[*many, "b", "d"])) is STORED
    assert loaded(store).fields == {"a": b""}


def test_a_checkpoint_on_another_base_is_stale(store: Store) -> None:
    create(store, "u")
    ids = fill(store, 3)
    assert store.checkpoint("u", fold(ids[1], ids[0], {"a": b"1"})) is STALE  # nothing is stored
    assert store.checkpoint("u", fold(ids[1], None, {"a": b"1"})) is STORED
    assert store.checkpoint("u", fold(ids[3], ids[0], {"a": b"2"})) is STALE
    assert store.checkpoint("u", fold(ids[0], ids[1], {"a": b"2"})) is STALE  # going back
    assert store.checkpoint("u", fold(ids[0], None, {"a": b"2"})) is STALE
    assert loaded(store).fields == {"a": b"1"}


def test_a_checkpoint_without_base_replaces_an_older_one(store: Store) -> None:
    create(store, "u")
    ids = fill(store, 3)
    store.checkpoint("u", fold(ids[0], None, {"a": b"1", "b": b"2"}))
    assert store.checkpoint("u", fold(ids[1], None, {"c": b"3"})) is STORED
    assert loaded(store).fields == {"c": b"3"}


def test_a_checkpoint_of_an_entry_that_is_gone_is_stale(store: Store) -> None:
    create(store, "u")
    (id_,) = [entry.id for entry in log(store, "u")]
    time, number = id_.split("-")
    gone = f"{time}-{int(number) + 1}"
    assert store.checkpoint("u", fold(gone, None, {"a": b"1"})) is STALE
    assert store.load("u").checkpoint is None


def test_two_readers_agree_or_the_difference_is_kept(store: Store) -> None:
    create(store, "u")
    ids = fill(store, 2)
    ours, theirs = fold(ids[1], None, {"a": b"1"}), fold(ids[1], None, {"a": b"2"})
    assert store.checkpoint("u", ours) is STORED
    assert store.checkpoint("u", ours) is SAME
    assert store.checkpoint("u", theirs) is DIVERGED
    for later in (ours, fold(ids[2], ids[1], {"a": b"3"}), fold(ids[2], None, {"a": b"3"})):
        assert store.checkpoint("u", later) is DIVERGED
    assert loaded(store).fields == {"a": b"1"}


def test_a_checkpoint_that_heals_replaces_whatever_is_stored_and_trims_nothing(store: Store) -> None:
    create(store, "u")
    ids = fill(store, 3)
    store.checkpoint("u", fold(ids[1], None, {"a": b"1"}))
    store.checkpoint("u", fold(ids[2], ids[1], {"a": b"2"}))
    assert store.checkpoint("u", fold(ids[2], None, {"a": b"3"})) is DIVERGED
    assert store.load("u").diverged
    entries = log(store, "u")
    for at, value in ((ids[2], b"4"), (ids[1], b"5"), (ids[2], b"6")):
        healed = replace(fold(at, None, {"a": value}, keep=2 * now(store)), heal=True)
        assert store.checkpoint("u", healed) is STORED
        assert loaded(store).fields == {"a": value}
        assert not store.load("u").diverged
    assert log(store, "u") == entries
    assert store.checkpoint("u", replace(fold("1-1", None, {}), heal=True)) is STALE


def test_the_log_is_never_trimmed_past_the_checkpoint_before_last(store: Store) -> None:
    create(store, "u")
    ids = fill(store, 600)
    late = 2 * now(store)  # nothing has to be kept for its age
    assert store.checkpoint("u", fold(ids[400], None, {}, keep=late)) is STORED
    assert len(log(store, "u")) == 601
    assert store.checkpoint("u", fold(ids[500], ids[400], {}, keep=late)) is STORED
    left = [entry.id for entry in log(store, "u")]
    assert left == ids[-len(left) :]
    assert ids[400] in left
    assert len(left) < 601
    assert store.checkpoint("u", fold(ids[600], ids[500], {}, keep=0)) is STORED
    assert [entry.id for entry in log(store, "u")] == left  # everything was to be kept


def test_a_log_has_so_many_bytes_at_the_most(store: Store) -> None:
    """Rows that are young enough to stay go all the same, the oldest first; never past the checkpoint before last."""
    create(store, "u")
    ids = fill(store, 400)

    def size() -> int:
        return sum(weight(encode(entry)) for entry in log(store, "u"))

    whole = size()
    store.checkpoint("u", fold(ids[-3], None, {}))
    assert store.checkpoint("u", replace(fold(ids[-2], ids[-3], {}), most=2 * whole)) is STORED
    assert size() == whole
    new = fill(store, 1, start=401)[-1]
    assert store.checkpoint("u", replace(fold(new, ids[-2], {}), most=whole // 4)) is STORED
    assert whole // 8 < size() <= whole // 4 + NODE
    left = log(store, "u")
    assert store.checkpoint("u", replace(fold(fill(store, 1, start=402)[-1], new, {}), most=1)) is STORED
    assert new in {entry.id for entry in log(store, "u")}
    assert len(log(store, "u")) < len(left)


def test_a_write_that_needs_the_log_holds_it_until_a_checkpoint_has_taken_it_in(store: Store) -> None:
    create(store, "u")
    ids = fill(store, 300)
    store.checkpoint("u", fold(ids[100], None, {"a": b"1"}))
    store.put(Put("u", "u", 2, 1, b"next", since=ids[5]))
    more = fill(store, 200, start=301)
    assert store.checkpoint("u", replace(fold(ids[200], ids[100], {"a": b"2"}), keep=now(store))) is STORED
    assert log(store, "u")[0].id == ids[0]
    assert store.checkpoint("u", replace(fold(more[400], ids[200], {"a": b"3"}), keep=now(store))) is STORED
    first = log(store, "u")[0].id
    assert order(ids[5]) < order(first) <= order(ids[200])
    with pytest.raises(ConflictError):
        store.put(Put("u", "u", 3, 2, b"third", since=ids[5]))
    assert store.load("u").record == b"next"
    store.put(Put("u", "u", 3, 2, b"third", since=first))
