"""What a caller gives is converted where that loses nothing, else refused at once with the field's name."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lever_client import Lever
from lever_client.values import features_of, name_of, number_of
from service.errors import InvalidError
from service.serving.subject import SUBJECT_BYTES, check_subject

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.fractions() | st.binary() | st.dates()
    | st.text(st.characters(codec=None)) | st.uuids() | st.builds(np.float32) | st.sampled_from([np.bool_(True), np.int8(3), object(), "x" * 129]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=3,
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "number"),
    [(3, 3), ("49.90", 49.9), (" -1e3 ", -1000), (Decimal("49.90"), 49.9), (Fraction(1, 4), 0.25), (np.float32(0.5), 0.5),
     (np.int64(7), 7), (np.array(2.5), 2.5)],
)  # fmt: skip
def test_numbers_are_converted(given: Any, number: float) -> None:
    assert number_of("value", given) == number


@pytest.mark.parametrize(
    "wrong",
    ["49,90", "", "1_000", "nan", "٣", math.nan, math.inf, Decimal("NaN"), Decimal("1e999"), 10**400, "1e999", True,
     np.bool_(False), None, b"1", [1], np.array([1.0]), np.float64("nan"), 1j, object()],
)  # fmt: skip
def test_what_is_no_number_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^value: "):
        number_of("value", wrong)


@given(ANYTHING)
def test_an_event_is_sent_or_refused_at_once_with_its_field(anything: Any) -> None:
    sent: list[Any] = []
    with Lever("127.0.0.1:1") as lever:
        lever._outbox.put = lambda event: not sent.append(event)  # type: ignore[method-assign,assignment,func-returns-value]
        calls: list[tuple[str, Callable[[], bool]]] = [
            ("value", lambda: lever.reward("YQ", value=anything)), ("metric", lambda: lever.reward("YQ", anything)),
            ("event_id", lambda: lever.reward("YQ", event_id=anything)), ("decision_id", lambda: lever.reward(anything)),
            ("decision_id", lambda: lever.expose(anything)),
        ]  # fmt: skip
        for field, call in calls:
            sent.clear()
            try:
                queued = call()
            except ValueError as error:
                assert re.match(rf"{field}: ", str(error))  # noqa: PT017
                assert not sent
            else:
                assert len(sent) == queued
                assert all(event.SerializeToString() for event in sent)


@given(ANYTHING)
def test_a_choice_never_raises(anything: Any) -> None:
    with Lever("127.0.0.1:1", timeout_s=0.001) as lever:
        for wrong in (
            lever.select("hero", anything, default="calm"),
            lever.select("hero", "ann", {"plan": anything}, default="calm"),
        ):
            assert (wrong.arm, wrong.decision_id) == ("calm", "")
            assert wrong.error


@given(st.text(st.characters(codec="utf-8"), max_size=600))
def test_a_subject_is_the_same_for_clients_and_servers(subject: str) -> None:
    def taken(check: Callable[[], object]) -> bool:
        try:
            check()
        except (InvalidError, ValueError):
            return False
        return True

    assert taken(lambda: name_of("subject", subject, SUBJECT_BYTES)) is taken(lambda: check_subject("subject", subject))


def test_subjects_that_are_no_texts() -> None:
    assert name_of("subject", 42) == name_of("subject", np.int64(42)) == "42"
    assert name_of("subject", uuid.UUID(int=7)) == "00000000-0000-0000-0000-000000000007"
    for wrong in (None, "", True, np.bool_(True), 1.0, b"ann"):
        with pytest.raises(ValueError, match=r"^subject: "):
            name_of("subject", wrong)


def test_a_feature_that_is_none_is_missing() -> None:
    assert features_of({"a": None, "b": np.bool_(True), "c": np.int8(3), "d": Decimal("0.5"), "e": "x"}) == {
        "b": True, "c": 3.0, "d": 0.5, "e": "x",
    }  # fmt: skip
