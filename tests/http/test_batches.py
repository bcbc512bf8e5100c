"""POST /v1/select-batch: what /v1/select says of each subject, and all or nothing of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from service.serving.batch import SUBJECTS
from tests.rig.site import PAGE, Answer, Keyed, Site

BATCH = "/v1/select-batch"
WHO = [f"visitor-{number}" for number in range(200)]


def batch(lever: Site, experiment: str, subjects: list[str], **given: object) -> Answer:
    return lever.post(BATCH, {"experiment": experiment, "subjects": subjects, **given})


def single(lever: Site, experiment: str, subject: str, **context: object) -> dict[str, Any]:
    asked = {"subject": subject, "context": context, "experiments": [experiment]}
    (made,) = lever.post("/v1/select", asked).json["decisions"]
    return dict(made)


def test_everybody_gets_what_a_single_choice_gives(lever: Site) -> None:
    """Of an experiment whose choices stay with their subject, and of one whose holdout and segments do."""
    even = batch(lever, "even", WHO).json
    assert set(even["arms"]) == {"a", "b", "c"}
    staff = [None if place % 3 == 0 else place % 3 == 1 for place in range(len(WHO))]
    price = batch(lever, "price", WHO, context={"staff": staff, "of-no-feature": [1] * len(WHO)}).json
    assert set(price["segments"]) == {"default", "staff"}
    assert price["payloads"] == {"low": 9, "high": 12}
    for place, subject in enumerate(WHO[:40]):
        one = single(lever, "even", subject)
        assert (one["arm"], one["propensity"]) == (even["arms"][place], even["propensities"][place])
        one = single(lever, "price", subject, staff=staff[place])
        for name, column in (("segment", "segments"), ("holdout", "holdout"), ("reason", "reasons")):
            assert one[name] == price[column][place], name
        assert one["experiment_version"] == price["experiment_version"]


def test_its_decisions_take_events(lever: Site) -> None:
    context = {"plan": ["paid", None, "other"], "visits": [3, 2.5, None]}
    made = batch(lever, "hero", ["ann", "bea", "cy"], context=context, arms=["loud"]).json
    assert (made["arms"], made["propensities"], made["stale"]) == (["loud"] * 3, [1.0] * 3, False)
    for decision in made["decision_ids"]:
        assert lever.event(decision, metric="click") == {"outcome": "APPLIED"}
    unseen = batch(lever, "hero", ["dan"], mode="uncounted").json
    assert unseen["reasons"] == ["UNCOUNTED"]
    assert lever.event(unseen["decision_ids"][0]) == {"outcome": "IGNORED"}
    mailed = batch(lever, "hero", ["eve"], deferred=True).json["decision_ids"][0]
    shown = [lever.event(mailed, type="exposure")["outcome"] for _ in range(2)]
    assert shown == ["APPLIED", "DUPLICATE"]


def test_ten_thousand_in_one_call(lever: Site) -> None:
    many = [f"reader-{number}" for number in range(SUBJECTS)]
    made = batch(
        lever, "hero", many, context={"visits": [number % 10 for number in range(SUBJECTS)]}, mode="uncounted"
    ).json
    assert len(set(made["decision_ids"])) == len(made["arms"]) == SUBJECTS


@pytest.mark.parametrize(
    ("given", "status", "field"),
    [
        ({"subjects": []}, 400, "subjects"),
        ({"subjects": ["x"] * (SUBJECTS + 1)}, 400, "subjects"),
        ({"subjects": ["ann", ""]}, 400, "subjects[1]"),
        ({"subjects": ["ann", "x" * 513]}, 400, "subjects[1]"),
        ({"subjects": ["ann", None]}, 400, "subjects[1]"),
        ({"context": {"plan": ["free"]}}, 400, "context.plan"),
        ({"context": {"plan": "free"}}, 400, "context[...]"),
        ({"context": {"plan": [1, 2]}}, 400, "context.plan"),
        ({"context": {"visits": [None, 1, "2"]}, "subjects": ["a", "b", "c"]}, 400, "context.visits[2]"),
        ({"context": {"visits": [1, True]}}, 400, "context.visits[1]"),
        ({"arms": ["quiet"]}, 404, "arms[0]"),
        ({"mode": "preview"}, 400, "mode"),
        ({"mood": "good"}, 400, "body"),
        ({"experiment": "none"}, 404, "experiment"),
    ],
)
def test_a_wrong_field_is_named_and_nobody_is_chosen_for(
    lever: Site, given: dict[str, object], status: int, field: str
) -> None:
    answer = lever.post(BATCH, {"experiment": "hero", "subjects": ["ann", "bea"], **given})
    assert (answer.status, answer.json["error"]["fields"][0]["field"]) == (status, field), answer.body


def test_a_draft_and_a_pause_are_told(lever: Site) -> None:
    assert batch(lever, "sketch", ["ann"]).status == 412
    paused = batch(lever, "paused", ["ann"]).json
    assert (paused["reasons"], paused["arms"], paused["payloads"]["x"]) == (["INACTIVE"], ["x"], "text")


def test_it_is_not_for_pages(keyed: Keyed) -> None:
    as_page = {"authorization": f"Bearer {keyed.public}", "origin": PAGE}
    body = {"experiment": "hero", "subjects": ["ann"]}
    assert keyed.site.post(BATCH, body, **as_page).status == 403
    assert keyed.site.post(BATCH, body, authorization="").status == 401
    assert keyed.site.post(BATCH, body, authorization=f"Bearer {keyed.decide}").status == 200
