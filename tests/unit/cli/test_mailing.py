"""What a mailing is made of: who was seen, lines of files, ids, and portions of a list."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.cli.mailing.choosing import flat, raw, texts
from service.cli.mailing.events import TWICE, TWO_LINKS, Event, bursts
from service.cli.mailing.recipients import Recipients, Wave
from service.cli.mailing.seen import Seen, hashes_of
from service.experiment.spec import FeatureSpec
from service.text.csv_cells import csv_line
from service.text.csv_format import Format


@given(st.lists(st.lists(st.integers(0, 40), max_size=60), max_size=40))
def test_seen_is_a_set(batches: list[list[int]]) -> None:
    seen, twin = Seen(), set[int]()
    for batch in batches:
        fresh = seen.add(np.array(batch, np.uint64))
        for number, first in zip(batch, fresh.tolist(), strict=True):
            assert first == (number not in twin)
            twin.add(number)


def test_a_long_list_is_seen_too() -> None:
    seen, size = Seen(), 10_000
    for start in range(0, 300_000, size):
        assert seen.add(hashes_of([f"p{i}" for i in range(start, start + size)], "x")).all()
    assert not seen.add(hashes_of([f"p{i}" for i in range(290_000, 300_000)], "x")).any()


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2)))
def test_a_line_is_read_as_it_was_written(rows: list[list[str]]) -> None:
    text = "".join(csv_line(row) for row in rows)
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == rows


@given(st.integers(1, 200).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size))))
def test_ids_are_the_bytes(tokens: list[bytes]) -> None:
    made = texts(tokens)
    assert [raw(one) for one in made] == tokens
    assert not set("".join(made)) & set("+/=")


def test_a_payload_becomes_cells() -> None:
    assert flat('{"a":"x","b":1.5,"c":null,"d":true,"e":{"f":[1,"ü"]}}') == {
        "a": "x", "b": "1.5", "c": "", "d": "true", "e": '{"f": [1, "ü"]}'
    }  # fmt: skip
    assert flat("null") == {}
    assert flat('"Hello"') == {"payload": "Hello"}


@given(
    st.lists(st.tuples(st.text("abc", max_size=2), st.sampled_from(["1", "x", ""]))),
    st.lists(st.floats(0.05, 0.95), max_size=3),
)
@settings(deadline=None)
def test_waves_are_the_list(people: list[tuple[str, str]], cuts: list[float]) -> None:
    """Every row is in one wave, with or without what is wrong with it."""
    features = {"visits": FeatureSpec("number", (), 0.0, 9.0)}
    text = "subject,visits\n" + "".join(f"{subject},{visits}\n" for subject, visits in people)
    ends = [0.0, *sorted(cuts), 1.0]
    chosen, left_out = Counter[str](), Counter[int]()
    for low, high in itertools.pairwise(ends):
        file = io.StringIO(text, newline="")
        for portion in (
            Recipients(file, Format(delimiter=","), features, "x", (), Wave(low, high)) if any(map(any, people)) else ()
        ):
            chosen.update(portion.subjects)
            left_out.update(one.row for one in portion.rejected)
    assert chosen == Counter({subject for subject, visits in people if subject and visits != "x"})
    blank = sum(not subject and not visits for subject, visits in people)
    assert chosen.total() + left_out.total() == len(people) - blank
    assert set(left_out.values()) <= {1}


def naive(clicks: list[Event]) -> dict[int, str]:
    """Bursts by closure: whoever is within a second of another one of the same name is in its burst."""
    found: dict[int, str] = {}
    timed = [click for click in clicks if click.at is not None]
    for click in timed:
        burst = {click.line}
        while (
            more := {
                o.line
                for o in timed
                for b in timed
                if b.line in burst and o.event == b.event and abs((o.at or 0) - (b.at or 0)) < 1_000
            }
            - burst
        ):
            burst |= more
        members = sorted((o for o in timed if o.line in burst), key=lambda o: (o.at or 0, o.line))
        if len({o.link for o in members}) > 1:
            found[click.line] = TWO_LINKS
        elif click.line != members[0].line:
            found[click.line] = TWICE
    return found


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.none() | st.integers(0, 4_000), st.sampled_from(["", "/x", "/y"])),
        max_size=9,
    )
)
def test_bursts(told: list[tuple[str, int | None, str]]) -> None:
    clicks = [Event(b"", name, at, None, "", link, line) for line, (name, at, link) in enumerate(told)]
    assert bursts(clicks) == naive(clicks)
