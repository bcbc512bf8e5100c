"""The journal and the kept configurations: every implementation passes this."""

from __future__ import annotations

import pytest

from service.store.contract import Event, Put, Store
from tests.rig.rows import create, now
from tests.rig.stores import Subject


def test_events_come_newest_first_with_the_stores_time(store: Store) -> None:
    for version in (1, 2, 3):
        store.journal.note(Event("updated", "ann", "hero", version, "state active"))
    store.journal.note(Event("API keys changed", "the file of keys"))
    found = store.journal.events()
    assert [event.version for event in found] == [0, 3, 2, 1]
    assert (found[1].what, found[1].by, found[1].experiment, found[1].detail) == (
        "updated",
        "ann",
        "hero",
        "state active",
    )
    assert all(abs(event.at_ms - now(store)) < 60_000 for event in found)
    assert [event.version for event in store.journal.events(limit=2)] == [0, 3]


@pytest.mark.parametrize("other", [5, 1005])
def test_events_of_one_experiment_among_many(store: Store, other: int) -> None:
    """More than are read at a time, so that several pages are."""
    for number in range(2):
        store.journal.note(Event("updated", "", "hero", number + 1))
        for _ in range(other):
            store.journal.note(Event("updated", "", "banner", 1))
    assert [event.version for event in store.journal.events("hero")] == [2, 1]
    assert [event.version for event in store.journal.events("hero", 1)] == [2]
    assert len(store.journal.events("banner", 1500)) == min(2 * other, 1500)
    assert store.journal.events("nobody") == []


def test_what_several_servers_see_is_kept_once(subject: Subject) -> None:
    for store in (subject.store, subject.again(), subject.store):
        store.journal.note(Event("API keys changed", "the file of keys", detail="added site"), "these keys")
    subject.store.journal.note(Event("API keys changed", "the file of keys", detail="removed site"), "those keys")
    assert [event.detail for event in subject.store.journal.events()] == ["removed site", "added site"]


def test_any_text_comes_back(store: Store) -> None:
    said = Event("upd\nated", "ann\0", "h\u00e9ro", 7, 'a "b" \u2028')
    store.journal.note(said)
    (found,) = store.journal.events()
    assert (found.what, found.by, found.experiment, found.version, found.detail) == (
        said.what, said.by, said.experiment, said.version, said.detail,
    )  # fmt: skip


def test_versions_are_the_newest_fifty(store: Store) -> None:
    assert store.versions("u") == {}
    create(store, "u")
    for version in range(2, 61):
        store.put(Put("u", "name of u", version, version - 1, b"%d" % version))
    assert list(store.versions("u")) == list(range(11, 61))
    assert store.versions("u")[60] == b"60"
