"""Who a choice is for: one rule, whatever the protocol."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidError
from service.serving.subject import SUBJECT_BYTES, check_subject


def refused(subject: Any) -> str:
    try:
        check_subject("subject", subject)
    except InvalidError as error:
        return str(error)
    return ""


@given(st.text(max_size=600) | st.text(alphabet="aä€😀", min_size=100, max_size=600))
def test_bytes_are_what_counts(subject: str) -> None:
    size = len(subject.encode("utf-8", "surrogatepass"))
    assert (refused(subject) == "") == (1 <= size <= SUBJECT_BYTES)


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("", "subject: must be given: who the choice is for"),
        (None, "subject: must be given: who the choice is for"),
        (42, "subject: must be a text"),
        (True, "subject: must be a text"),
        (["a"], "subject: must be a text"),
        ("€" * 171, "subject: is longer than 512 bytes"),
        ("a" * 512, ""),
    ],
)
def test_what_is_no_subject(subject: Any, message: str) -> None:
    assert refused(subject) == message
