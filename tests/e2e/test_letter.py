"""The example of a mailing learns which subject line earns clicks, as its comment says letters are to be exposed."""

from __future__ import annotations

import numpy as np

from service.serving.personalizer import Mode
from service.serving.rewarder import RewardEvent
from service.store.contract import Outcome
from service.store.embedded import Embedded
from tests.rig.programs import ROOT
from tests.rig.stage import stage

LETTER = (ROOT / "deploy/examples/subject-line.yaml").read_text()
OPENED = {"plain": 0.4, "deadline": 0.1}  # share of the letters
CLICKED = {"plain": 0.1, "deadline": 0.2}  # share of those that were opened: 4 % and 2 % of the letters
LETTERS = 4000


def best(valkey: Embedded, *, on_opening: bool) -> str:
    """The line that the experiment holds for the best after a mailing of two lines."""
    rng = np.random.default_rng(7)
    with stage(valkey.url) as world:
        server = world.service()
        server.experiments.put(LETTER, 0)
        subjects = [f"reader-{i}" for i in range(LETTERS)]
        sent = server.use_cases.select_batch("thursday-letter", subjects, {}, list(OPENED), True, Mode.NORMAL)
        shown, clicks = [], []
        for token, arm in zip(sent.tokens, sent.arms.tolist(), strict=True):
            line = sent.arm_ids[arm]
            opened = rng.random() < OPENED[line]
            if opened or not on_opening:
                shown.append(token)
            if opened and rng.random() < CLICKED[line]:
                clicks.append(RewardEvent(token))
        for start in range(0, len(shown), 1000):
            assert set(server.use_cases.expose(shown[start : start + 1000])) == {Outcome.APPLIED}
        assert set(server.use_cases.reward(clicks)) == {Outcome.APPLIED}
        world.settle()
        (segment,) = server.experiments.report("thursday-letter").segments
    arms = {arm.arm: arm for arm in segment.arms}
    assert arms["plain"].trials + arms["deadline"].trials > LETTERS * (0.05 if on_opening else 0.9)
    return max(arms.values(), key=lambda arm: arm.probability_best).arm


def test_delivery_finds_the_better_line_and_opening_the_worse_one(valkey: Embedded) -> None:
    assert best(valkey, on_opening=False) == "plain"
    assert best(valkey, on_opening=True) == "deadline"
