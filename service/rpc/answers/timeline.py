"""A timeline as it goes over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from service.analysis.timeline import Asked, Series, Step, Timeline
from service.errors import InvalidError
from service.management.exclusions import Exclusion
from service.pb.lever.v1 import experiment_pb2 as pb
from service.rpc.answers.exclusion import exclusion_message
from service.store.contract import Event


def asked(request: pb.GetTimelineRequest) -> Asked:
    """What a request asks for. InvalidError names the field."""
    for name in ("from_ms", "to_ms"):
        if getattr(request, name) < 0:
            raise InvalidError.field(name, "must not be negative")
    try:
        step = Step(request.step)
    except ValueError:
        raise InvalidError.field("step", f"there is no step {request.step}") from None
    return Asked(request.segment, request.each_segment, request.from_ms, request.to_ms, step)


def timeline_message(found: Timeline, exclusions: Sequence[Exclusion] = ()) -> pb.GetTimelineResponse:
    """The answer, with what is left out of it."""
    return pb.GetTimelineResponse(
        name=found.name, metric=found.metric, kept_from_ms=found.kept_from_ms, stale=found.stale,
        periods=[pb.TimelinePeriod(start_ms=p.start_ms, end_ms=p.end_ms) for p in found.periods],
        series=[_series(one) for one in found.series],
        lifts=[pb.Lift(**asdict(lift)) for lift in found.lifts],
        changes=[history_event(event) for event in found.changes],
        exclusions=[exclusion_message(one) for one in exclusions],
    )  # fmt: skip


def _series(one: Series) -> pb.TimelineSeries:
    return pb.TimelineSeries(**{name: getattr(one, name) for name in Series.__slots__})


def history_event(event: Event, config: str = "") -> pb.HistoryEvent:
    """Something that somebody did, with the configuration that it wrote."""
    return pb.HistoryEvent(
        at_ms=event.at_ms, by=event.by, what=event.what, experiment=event.experiment,
        version=event.version, detail=event.detail, config=config,
    )  # fmt: skip
