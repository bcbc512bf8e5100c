"""A report as a picture for a slide."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from service.pb.lever.v1 import experiment_pb2 as pb
from service.sheet.slide import slide, winner
from tests.rig.demo.shop import told


@pytest.mark.parametrize("name", ["homepage-hero", "cart-offer"])
def test_it_is_a_picture_for_a_slide(name: str, tmp_path: Path) -> None:
    out = tmp_path / "slide.png"
    slide(*told()[name], out)
    head = out.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (1920, 1080)


def test_nothing_known_yet_makes_a_picture_too(tmp_path: Path) -> None:
    arm = pb.ArmReport(arm="a", posterior_mean=math.nan, probability_best=math.nan)
    segments = [pb.SegmentReport(segment="one", arms=[arm]), pb.SegmentReport(segment="two")]
    for shown in (segments, segments[:1], []):
        report = pb.GetReportResponse(name="hero", metric="buy", headline="It is too early.", segments=shown)
        slide(report, pb.GetTimelineResponse(), tmp_path / "slide.png")


def test_the_winner_is_the_likeliest_best_arm() -> None:
    chances = [0.1, math.nan, 0.9]
    segment = pb.SegmentReport(arms=[pb.ArmReport(arm=str(i), probability_best=p) for i, p in enumerate(chances)])
    assert winner(segment) == 2
    assert winner(pb.SegmentReport(arms=[pb.ArmReport(probability_best=math.nan)])) is None
    assert winner(pb.SegmentReport()) is None
