"""What a mailing is made of: who was seen, lines of files, ids, and portions of a list."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.cli.mailing.choosing import flat, raw, texts
from service.cli.mailing.events import TWICE, TWO_LINKS, Event, bursts
from service.cli.mailing.recipients import Recipients, Wave
from service.cli.mailing.seen import Seen, hashes_of
from service.cli.mailing.webhooks import System, to_csv
from service.errors import InvalidError
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


# As «Examples of event data that Amazon SES publishes to Firehose» and «Event Webhook Reference» of SendGrid lay them out.
SES_MAIL = {
    "timestamp": "2017-08-09T21:59:49.927Z",
    "source": "Sender Name <sender@example.com>",
    "messageId": "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000",
    "destination": ["recipient@example.com"],
    "headersTruncated": False,
    "commonHeaders": {"from": ["sender@example.com"], "to": ["recipient@example.com"], "subject": "Message sent"},
    "tags": {"ses:configuration-set": ["ConfigSet"], "ses:from-domain": ["example.com"], "decision_id": ["AT4j-_x"]},
}
SES = [
    {"eventType": "Send", "mail": SES_MAIL, "send": {}},
    {
        "eventType": "Delivery",
        "mail": SES_MAIL,
        "delivery": {
            "timestamp": "2016-10-19T23:21:04.133Z", "processingTimeMillis": 11893,
            "recipients": ["recipient@example.com"], "smtpResponse": "250 2.6.0 Message received",
        },
    },
    {
        "eventType": "Click",
        "click": {
            "ipAddress": "192.0.2.1", "link": "http://docs.aws.amazon.com/ses/latest/dg/send-email-smtp.html",
            "linkTags": {"samplekey0": ["samplevalue0"]}, "timestamp": "2017-08-09T23:51:25.570Z", "userAgent": "Mozilla/5.0",
        },
        "mail": SES_MAIL,
    },
    {"eventType": "Click", "click": {"link": "x", "timestamp": "2017-08-09T23:51:25Z"}, "mail": {**SES_MAIL, "tags": {}}},
]  # fmt: skip
SES_ROWS = [
    ["AT4j-_x", "recipient@example.com", "Send", "2017-08-09T21:59:49.927Z", "", ""],
    ["AT4j-_x", "recipient@example.com", "delivered", "2016-10-19T23:21:04.133Z", "", ""],
    [
        "AT4j-_x", "recipient@example.com", "click", "2017-08-09T23:51:25.570Z", "",
        "http://docs.aws.amazon.com/ses/latest/dg/send-email-smtp.html",
    ],
]  # fmt: skip
_SENT = {"email": "example@test.com", "timestamp": 1513299569, "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>"}
SENDGRID = [
    {**_SENT, "event": "processed", "sg_event_id": "a==", "decision_id": "AT4j-_x"},
    {**_SENT, "event": "delivered", "sg_event_id": "b==", "response": "250 OK", "decision_id": "AT4j-_x"},
    {**_SENT, "event": "click", "sg_event_id": "c==", "url": "http://www.sendgrid.com/", "decision_id": "AT4j-_x"},
    {**_SENT, "event": "group_unsubscribe", "sg_event_id": "d==", "asm_group_id": 10, "decision_id": "AT4j-_x"},
    {**_SENT, "event": "open", "sg_event_id": "e=="},
]
SENDGRID_ROWS = [
    ["AT4j-_x", "example@test.com", "processed", "1513299569000", "a==", ""],
    ["AT4j-_x", "example@test.com", "delivered", "1513299569000", "b==", ""],
    ["AT4j-_x", "example@test.com", "click", "1513299569000", "c==", "http://www.sendgrid.com/"],
    ["AT4j-_x", "example@test.com", "unsubscribe", "1513299569000", "d==", ""],
]


def converted(system: System, text: str) -> tuple[int, list[list[str]]]:
    out = io.StringIO(newline="")
    others = to_csv(system, io.StringIO(text, newline=""), out, "decision_id")
    header, *rows = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert header == ["decision_id", "subject", "event", "time", "event_id", "link"]
    return others, rows


def test_the_documented_webhooks() -> None:
    lines = "\n".join(map(json.dumps, SES))
    assert converted(System.SES, lines) == (1, SES_ROWS)
    envelopes = "\n".join(json.dumps({"Type": "Notification", "Message": json.dumps(one)}) for one in SES)
    assert converted(System.SES, envelopes) == (1, SES_ROWS)
    for text in (json.dumps(SENDGRID, indent=2), "\n".join(json.dumps([one]) for one in SENDGRID)):
        assert converted(System.SENDGRID, text) == (1, SENDGRID_ROWS)


@pytest.mark.parametrize(
    ("system", "text", "said"),
    [
        (System.SES, json.dumps(SES[0]) + "\n{", "line 2: is no JSON"),
        (System.SES, '{"mail": {}}', "line 1: is no event of ses"),
        (System.SENDGRID, json.dumps(SENDGRID[:1]) + '\n\n[{"event": "click"}]', "line 3: is no event of sendgrid"),
        (System.SENDGRID, "[3]", "line 1: is no event of sendgrid"),
    ],
)
def test_what_is_no_webhook(system: System, text: str, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        converted(system, text)
