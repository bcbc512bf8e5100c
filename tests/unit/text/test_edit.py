"""One key of a file is changed and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidError
from service.text.document import load
from service.text.edit import with_entry, with_value

FILES = {
    "block": (
        "# on top\nexperiment: x\nstate: active  # so far\narms: []\n",
        "# on top\nexperiment: x\nstate: paused  # so far\narms: []\n",
    ),
    "absent": ("experiment: x  # a name\narms: []\n", "experiment: x\nstate: paused  # a name\narms: []\n"),
    "quoted": ('experiment: x\nstate: "active"\n', "experiment: x\nstate: paused\n"),
    "flow": ("{experiment: x, state: active, arms: []}\n", "{experiment: x, state: paused, arms: []}\n"),
    "json": ('{"experiment": "x",\n "state":"active"}', '{"experiment": "x",\n "state":"paused"}'),
    "json, absent": ('{"experiment": "x", "arms": []}', '{"experiment": "x", "state": "paused", "arms": []}'),
    "mark": ("\ufeffexperiment: x\nstate: active\n", "experiment: x\nstate: paused\n"),
    "nested": (
        "experiment: x\narms: [{state: active}]\nstate: active\n",
        "experiment: x\narms: [{state: active}]\nstate: paused\n",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_word_is_another_and_nothing_else(name: str) -> None:
    before, after = FILES[name]
    assert with_value(before, "state", "paused", "experiment") == after


TEXTS = st.text('ab 1é#:{}[]"\\\n\u2028\u0085☂🌧', max_size=12)
TREES = st.dictionaries(
    st.sampled_from(["arms", "note", "state", "zone"]),
    st.recursive(TEXTS, lambda one: st.lists(one, max_size=3), max_leaves=5),
)


@given(TREES, st.booleans())
def test_whatever_a_json_file_holds_stays(tree: dict[str, object], packed: bool) -> None:
    text = json.dumps({"experiment": "x"} | tree, ensure_ascii=packed, indent=None if packed else 2)
    made = with_value(text, "state", "paused", "experiment")
    assert load(made)[0].plain() == {"experiment": "x"} | tree | {"state": "paused"}


def test_a_file_in_which_more_would_change_is_left_to_people() -> None:
    with pytest.raises(InvalidError) as refused:
        with_value("experiment: x\nbase: &a active\nstate: *a\n", "state", "paused", "experiment")
    assert refused.value.violations[0].field == "state"


ENTRIES = {
    "block": (
        "arms:\n  # first\n  - id: a\n    payload: {x: 1}  # odd\n  - payload: 2\n    id: b\n",
        "arms:\n  # first\n  - state: paused\n    id: a\n    payload: {x: 1}  # odd\n  - payload: 2\n    id: b\n",
    ),
    "last": ("arms:\n- payload: 2\n  id: a\n", "arms:\n- state: paused\n  payload: 2\n  id: a\n"),
    "given": ("arms: [{id: a, state: active}]  # so\n", 'arms: [{id: a, state: "paused"}]  # so\n'),
    "flow": ("arms: [{id: b}, {id: a}]\n", 'arms: [{id: b}, {"state": "paused", id: a}]\n'),
    "json": ('{"arms": [{"id": "a"}]}', '{"arms": [{"state": "paused", "id": "a"}]}'),
    "anchor": ("arms:\n  - &x\n    id: a\n", "arms:\n  - &x\n    state: paused\n    id: a\n"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_of_a_list_says_another_word_and_nothing_else_changes(name: str) -> None:
    before, after = ENTRIES[name]
    assert with_entry(before, "arms", "a", "state", "paused") == after


def test_an_entry_that_cannot_be_changed_in_place_is_written_anew() -> None:
    """The state of one is that of the other: changed at its place, both would be paused."""
    text = "arms: [{id: a, state: &s active}, {id: b, state: *s}]\n"
    arms = [{"id": "a", "state": "paused"}, {"id": "b", "state": "active"}]
    assert load(with_entry(text, "arms", "a", "state", "paused"))[0].plain() == {"arms": arms}
    with pytest.raises(KeyError):
        with_entry(text, "arms", "c", "state", "paused")


@given(TREES, st.booleans())
def test_whatever_is_around_an_entry_stays(tree: dict[str, object], packed: bool) -> None:
    arms: list[dict[str, object]] = [{"id": "b"}, {"id": "a", "payload": tree}]
    text = json.dumps(tree | {"arms": arms}, ensure_ascii=packed, indent=None if packed else 2)
    made = load(with_entry(text, "arms", "a", "state", "paused"))[0].plain()
    assert made == tree | {"arms": [arms[0], arms[1] | {"state": "paused"}]}
