"""The contract of states that one server adds up for the others: whose they are, what they stand on, how they end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.errors import CorruptError
from service.store.contract import Checkpoint, Put
from service.store.redis import RedisStore
from service.store.scripts import Keys
from service.store.sharing.states import Offered, States
from tests.rig.rows import HOUR, TRIAL_SIZE, create, fold, head, log, now
from tests.rig.stores import Subject
from tests.rig.waiting import eventually

TAKEN, OTHER, STALE = Offered.TAKEN, Offered.OTHER, Offered.STALE

pytestmark = pytest.mark.parametrize("subject", ["valkey", "debian_redis", "clustered"], indirect=True)


@pytest.fixture
def store(subject: Subject) -> RedisStore:
    """An experiment with two entries in its log."""
    assert isinstance(subject.store, RedisStore)
    create(subject.store, "u")
    subject.store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, now(subject.store)), HOUR)
    return subject.store


def ids(store: RedisStore) -> list[str]:
    return [entry.id for entry in log(store, "u")]


def test_one_owner_at_a_time_and_each_step_stands_on_the_one_before(store: RedisStore) -> None:
    first, last = ids(store)
    states = store.states
    assert states.kept("u") is None
    assert states.load("u") is None
    whole, stored = fold(first, None, {"a": b"1", "b": b"2"}), fold(first, None, {"a": b"1"}, rows=7)
    assert states.offer("u", "mine", whole, stored) is TAKEN
    assert states.offer("u", "another", fold(last, None, {"a": b"9"}), None) is OTHER
    assert states.kept("u") == ("mine", first)
    shared = states.load("u")
    assert shared is not None
    assert shared.state.fields == whole.fields
    assert shared.stored == Checkpoint(first, None, 7, 1, "", {})

    step = Checkpoint(last, first, 3, 2, "digest", {"a": b"11"}, removed=["b"])
    assert states.offer("u", "mine", replace(step, base=last), None) is STALE
    assert states.offer("u", "mine", step, None) is TAKEN
    shared = states.load("u")
    assert shared is not None
    assert (shared.state.fields, shared.stored) == ({"a": b"11"}, None)
    assert (shared.state.id, shared.state.rows) == (last, 3)


def test_one_witness_at_a_time(store: RedisStore) -> None:
    soon = States(lambda: store._bulk, store._keys, lease_ms=50)
    assert [soon.witness("u", one) for one in ("mine", "another", "mine")] == [True, False, True]
    eventually(lambda: store.states.witness("u", "another"))
    assert not soon.witness("u", "mine")


def test_what_no_log_leads_to_is_not_kept(store: RedisStore) -> None:
    first, _ = ids(store)
    for uid, at in (("u", "1-1"), ("nobody", first)):
        assert store.states.offer(uid, "mine", fold(at, None, {"a": b"1"}), None) is STALE
        assert store.states.kept(uid) is None


def test_a_state_goes_with_its_experiment_and_without_its_owner(store: RedisStore) -> None:
    first, last = ids(store)
    soon = States(lambda: store._bulk, store._keys, lease_ms=30)
    assert soon.offer("u", "mine", fold(first, None, {"a": b"1"}), None) is TAKEN
    eventually(lambda: store.states.kept("u") is None)
    assert soon.offer("u", "mine", Checkpoint(last, first, 3, 2, "digest", {"a": b"2"}), None) is STALE
    assert store.states.offer("u", "another", fold(last, None, {"a": b"1"}), None) is TAKEN
    store.put(Put("u", "u", 1, 1, None))
    assert store.states.kept("u") is None


def test_another_format_has_states_of_its_own(store: RedisStore) -> None:
    first, _ = ids(store)
    newer = States(lambda: store._bulk, Keys(store._keys.prefix, store._keys.form + 1))
    assert newer.offer("u", "newer", fold(first, None, {"a": b"1"}), None) is TAKEN
    assert store.states.kept("u") is None
    assert store.states.offer("u", "older", fold(first, None, {"a": b"1"}), None) is TAKEN


@pytest.mark.parametrize("field", ["id", "rows", "size", "digest", "check", "stored"])
def test_damage_is_no_state(store: RedisStore, field: str) -> None:
    first, _ = ids(store)
    store.states.offer("u", "mine", fold(first, None, {"a": b"1"}), fold(first, None, {}))
    store._bulk.ask(("HSET", store._keys.state("u"), field, "9"))
    with pytest.raises(CorruptError):
        store.states.load("u")
    if field == "id":
        with pytest.raises(CorruptError):
            store.states.kept("u")
