"""One key of a file is changed and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidError
from service.text.document import load
from service.text.edit import with_value

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
