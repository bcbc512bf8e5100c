"""Events and kept configurations in one list."""

from __future__ import annotations

from service.experiment.compiled import build, read
from service.experiment.parse import parse
from service.management.past import history, written
from service.store.contract import Event
from tests.rig.ground import CONFIG

NOW = 1_800_000_000_000
TEXT = CONFIG.format(name="hero")


def records(*writers: str, gap_ms: int = 60_000) -> dict[int, bytes]:
    """Versions of one experiment, a minute apart, each by its writer."""
    made: dict[int, bytes] = {}
    old = None
    for at, by in enumerate(writers):
        made[at + 1] = build(parse(TEXT), TEXT, "ab12", NOW + at * gap_ms, old, by=by)
        old = read(made[at + 1])
    return made


def test_a_record_says_who_wrote_it_and_one_that_does_not_is_read() -> None:
    (record,) = records("ann").values()
    assert (written(record).by, written(record).version, written(record).text) == ("ann", 1, TEXT)
    before = record.replace(b',"by":"ann"', b"")
    assert written(before).by == ""
    assert read(before).text == TEXT


def test_events_get_the_texts_that_they_wrote() -> None:
    events = [Event("updated", "bob", "hero", 2, at_ms=NOW + 60_020), Event("created", "ann", "hero", 1, at_ms=NOW + 5)]
    found = history(events, records("ann", "bob"), "hero")
    assert [(past.event, past.text) for past in found] == [(event, TEXT) for event in events]


def test_a_configuration_whose_event_was_not_kept_says_itself_by_whom() -> None:
    events = [Event("created", "ann", "hero", 1, at_ms=NOW)]
    newest, oldest = history(events, records("ann", "bob"), "hero")
    assert (newest.event.what, newest.event.by, newest.event.version, newest.text) == ("updated", "bob", 2, TEXT)
    assert oldest.event.by == "ann"


def test_an_earlier_experiment_of_the_name_keeps_its_events_without_texts_of_the_new_one() -> None:
    earlier = [
        Event("deleted", "eve", "hero", at_ms=NOW - 10**6),
        Event("created", "eve", "hero", 1, at_ms=NOW - 10**7),
    ]
    found = history([Event("created", "ann", "hero", 1, at_ms=NOW), *earlier], records("ann"), "hero")
    assert [(past.event.by, bool(past.text)) for past in found] == [("ann", True), ("eve", False), ("eve", False)]
