"""What a file can say and hardly means: arms that cannot be served, values that look alike, an experiment twice."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidError
from service.experiment.compiled import build, read
from service.experiment.doubts import lookalikes, plain
from service.experiment.parse import parse
from service.experiment.spec import FeatureSpec
from service.text.document import files_of, repeated

NOW = 1_800_000_000_000  # 2027-01-15
FILE = """\
experiment: hero
{state}
arms:
  - {{id: calm{default}}}
  - {{id: bold{winner}}}
default_arm: calm
features: {{visits: {{type: number, min: 0, max: 9}}}}
segments: [{{id: vip, when: {{visits: {when}}}}}]
metrics: [{{id: click}}]
"""


def file(default: str = "", winner: str = "", state: str = "description: x", when: str = "{min: 3}") -> str:
    return FILE.format(default=default, winner=winner, state=state, when=when)


def refused(text: str) -> list[str]:
    with pytest.raises(InvalidError) as caught:
        build(parse(text), text, "ab", NOW, None)
    return [str(violation) for violation in caught.value.violations]


UNSERVABLE = {
    ", state: paused": "is paused",
    ", state: retired": "is retired",
    ", end: 2026-01-01": "ended by its date",
    ", end: 2028-01-01": "will end by its date",
    ", start: 2028-01-01": "has not started yet",
}


@pytest.mark.parametrize("given", UNSERVABLE)
def test_what_everybody_may_be_served_must_be_there(given: str) -> None:
    for text, key, arm in (
        (file(default=given), "default_arm", "calm"),
        (file(winner=given, state="{state: ended, winner: bold}"[1:-1].replace(", ", "\n")), "winner", "bold"),
    ):
        (said,) = refused(text)
        assert f'{key}: the arm "{arm}" {UNSERVABLE[given]}' in said
        assert said.startswith("line ")


def test_arms_that_have_begun_may_be_served() -> None:
    text = file(", start: 2020-01-01", ", start: 2026-01-01", "state: ended\nwinner: bold")
    assert read(build(parse(text), text, "ab", NOW, None)).winner == 1


def test_a_winner_is_for_everyone_or_learned() -> None:
    (said,) = refused(file(winner=", segments: [vip]", state="state: ended\nwinner: bold"))
    assert "the winner is for everyone" in said
    text = file(state="state: ended\nwinner: learned")
    hero = read(build(parse(text), text, "ab", NOW, None))
    assert (hero.winner, hero.winner_learned) == (None, True)
    text = text.replace("bold", "learned")  # an arm of that name is meant
    hero = read(build(parse(text), text, "ab", NOW, None))
    assert (hero.winner, hero.winner_learned) == (1, False)
    assert "winner: is only for the state ended" in refused(file(state="winner: learned"))[0]


@pytest.mark.parametrize("when", ["{}", "{min: null}", "{max: null}", "{min: null, max: ~}", "{min: }"])
def test_a_range_has_an_end(when: str) -> None:
    assert [said.split(": ", 1)[1] for said in refused(file(when=when))] == [
        "segments[0].when.visits: must have min or max"
    ]


def test_one_end_may_be_empty() -> None:
    (condition,) = parse(file(when="{min: null, max: 4}")).segments[0].when
    assert (condition.low, condition.high) == (None, 4.0)


ALIKE = [
    ("software", "Software"), ("software", " software"), ("soft ware", "soft  ware"), ("soft ware", "soft\u00a0ware"),
    ("caf\u00e9", "cafe\u0301"), ("software", "soft\u200bware"), ("software", "\ufeffsoftware"), ("STRASSE", "straße"),
    ("a", "\uff41"), ("soft-ware", "soft\u00ad-ware"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_values_that_look_alike_are_warned_of(one: str, other: str) -> None:
    (said,) = lookalikes({"industry": FeatureSpec("category", (one, "retail", other))})
    assert said.startswith("features.industry.values: ")
    assert said.isascii()  # what is not seen is shown
    assert ascii(one) in said


def test_values_and_features_that_differ_are_not_warned_of() -> None:
    features = {
        "Plan": FeatureSpec("category", ("a", "b", "ab", "a b", "ä", "a-b", "1", "١")),
        "tier": FeatureSpec("flag"),
    }
    assert lookalikes(features) == []
    (said,) = lookalikes({**features, "plan": FeatureSpec("flag")})
    assert "in upper and lower case" in said


@given(st.text(min_size=1, max_size=20))
def test_looking_alike_does_not_depend_on_composition_or_case(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC"):
        assert plain(unicodedata.normalize(form, text)) == plain(text)
    assert plain(f" {text}\u200b ") == plain(text)
    assert plain(plain(text)) == plain(text)


def test_warnings_come_with_the_experiment() -> None:
    text = file().replace("features: {", "features: {plan: {type: category, values: [free, Free]}, ")
    said, _ = read(build(parse(text), text, "ab", NOW, None)).warnings  # the other tells that there is no holdout
    assert (
        said
        == "features.plan.values: 'free' and 'Free' are told apart, though they differ only in upper and lower case"
    )


def test_an_experiment_is_in_one_file(tmp_path: Path) -> None:
    for name, text in {
        "a.yaml": file(),
        "b.json": '{"experiment": "hero"}',
        "c.yml": "experiment: other",
        "d.yaml": "[1",
    }.items():
        (tmp_path / name).write_text(text)
    files = files_of(tmp_path, tmp_path / "a.yaml")
    assert [f.name for f in files] == ["a.yaml", "b.json", "c.yml", "d.yaml"]
    said = repeated({f: f.read_text() for f in files})
    assert said == [f'{tmp_path}/b.json: experiment: "hero" is in {tmp_path}/a.yaml already']
