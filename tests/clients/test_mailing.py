"""A mailing: thirty thousand exposures and rewards are queued at once, and all of them arrive."""

from __future__ import annotations

import base64
from pathlib import Path

import grpc

from lever_client import Lever
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from tests.rig.site import site

LETTERS = 30_000
LETTER = """\
experiment: letter
arms: [{id: short}, {id: long}]
default_arm: short
algorithm: beta
metrics: [{id: click, window: 1d}]
"""


def test_thirty_thousand_letters(tmp_path: Path) -> None:
    with site(tmp_path, {"letter": LETTER}) as made, Lever(made.grpc) as lever:
        with grpc.insecure_channel(made.grpc) as channel:
            stub = PersonalizationServiceStub(channel)
            ids = [
                base64.urlsafe_b64encode(decision).rstrip(b"=").decode()
                for start in range(0, LETTERS, 10_000)
                for decision in stub.SelectBatch(
                    pb.SelectBatchRequest(
                        experiment="letter", subjects=[f"s{start + i}" for i in range(10_000)], deferred=True
                    )
                ).decision_ids
            ]
        assert all(lever.expose(decision) for decision in ids)
        assert all(lever.reward(decision) for decision in ids[::10])
        assert lever.flush(120)
        assert (lever.dropped, lever.refused) == (0, 0)
        first = 1  # the site's own, when it asked whether the experiment is there
        made.await_trials("letter", LETTERS + first)
        trials = made.settled("letter")
    assert sum(trials for trials, _ in trials.values()) == LETTERS + first
    assert sum(rewarded for _, rewarded in trials.values()) == LETTERS // 10
