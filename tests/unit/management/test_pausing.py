"""Which arms a file leaves paused that a guardrail has paused."""

from __future__ import annotations

import pytest

from service.experiment.compiled import Experiment, build, read
from service.experiment.guardrails import Pause, Pauses
from service.experiment.parse import parse
from service.management.pausing import paused_text, still_paused

FILE = """\
experiment: letter
arms:
  - {id: plain}
  - {id: loud}  # odd
  - {id: calm}
default_arm: plain
metrics: [{id: left}]
guardrails: [{metric: left, max: 0.1}]
"""
PAUSE = Pause(5, "left", "max")


def applied(text: str, current: Experiment | None = None, **pausing: Pause) -> Experiment:
    """The next version; lines of what is refused are those of the file."""
    changed, spec = still_paused(text, parse(text), current)
    return read(build(spec, changed, "ab", 9, current, pausing=pausing))


@pytest.fixture
def paused() -> Experiment:
    return applied(paused_text(FILE, ["loud"]), applied(FILE), loud=PAUSE)


def test_a_pause_is_written_into_the_file(paused: Experiment) -> None:
    assert paused.text == FILE.replace("{id: loud}", '{"state": "paused", id: loud}')
    assert [arm.state for arm in paused.arms] == ["active", "paused", "active"]
    assert paused.pauses == Pauses({"loud": PAUSE})


def test_a_file_that_says_nothing_of_it_leaves_it_paused(paused: Experiment) -> None:
    for text in (FILE, FILE + "description: other words\n"):
        again = applied(text, paused)
        assert again.arms[1].state == "paused"
        assert again.pauses == Pauses({"loud": PAUSE})
    assert applied(FILE, paused).text == paused.text
    assert "is paused by its guardrail on 'left'" in str(again.warnings)


@pytest.mark.parametrize(
    ("was", "now", "state", "resumed"),
    [
        ("{id: loud}", "{id: loud, state: active}", "active", ("loud",)),
        ("default_arm: plain", "default_arm: loud", "active", ("loud",)),
        ("default_arm: plain", "default_arm: plain\nstate: ended\nwinner: loud", "active", ("loud",)),
        ("{id: loud}", "{id: loud, state: retired}", "retired", ()),
        ("  - {id: loud}  # odd\n", "", "retired", ()),
    ],
)
def test_what_a_file_says_of_it_holds(
    paused: Experiment, was: str, now: str, state: str, resumed: tuple[str, ...]
) -> None:
    again = applied(FILE.replace(was, now), paused)
    assert again.arms[1].state == state
    assert again.pauses == Pauses({}, resumed)
    assert applied(FILE, again).arms[1].state == "active"  # it was given up, and is taken up by name
    assert applied(FILE, again).pauses == Pauses()


def test_a_person_may_pause_it_too(paused: Experiment) -> None:
    again = applied(FILE.replace("{id: loud}", "{id: loud, state: paused}"), paused)
    assert again.pauses == Pauses({"loud": PAUSE})
