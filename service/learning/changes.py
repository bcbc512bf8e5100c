"""Says in the log which arms changed and when next to nothing is earned; every server says it for itself."""

from __future__ import annotations

import datetime as dt

import structlog

from bandits.recall import SMALL, Recall
from service.learning.replica import Replica

Said = tuple[frozenset[int], tuple[int, int] | None]  # arms that changed, and the outage


class ChangeLog:
    """Remembers what it has said, by experiment and segment."""

    def __init__(self) -> None:
        self._said: dict[str, dict[int, Said]] = {}  # by uid and segment
        self._log = structlog.get_logger("lever.feed")

    def derived(self, replica: Replica, *, first: bool) -> None:
        """A snapshot was derived; what was so before the `first` one is known and not said."""
        experiment, said = replica.experiment, self._said.setdefault(replica.uid, {})
        for segment, past in replica.reviews.pasts(experiment).items():
            if not first:
                place = {"experiment": experiment.name, "segment": experiment.segments.ids[segment]}
                arms, outage = said.get(segment, (frozenset(), None))
                self._changes(past, arms, {arm.number: arm.id for arm in experiment.arms}, place)
                self._outage(past.outage, outage, place)
            said[segment] = frozenset(shift.arm for shift in past.shifts), past.outage

    def _changes(self, past: Recall, known: frozenset[int], names: dict[int, str], place: dict[str, str]) -> None:
        for shift in past.shifts:
            if shift.arm not in known:
                self._log.warning(
                    "an arm earns otherwise than it did; what it earned before has little weight",
                    arm=names[shift.arm], since=hour(shift.since_ms), times=round(shift.ratio / SMALL, 2), **place,
                )  # fmt: skip

    def _outage(self, now: tuple[int, int] | None, before: tuple[int, int] | None, place: dict[str, str]) -> None:
        if now is not None and before is None:
            self._log.warning(
                "next to nothing is earned; rewards may not arrive, and what is shown meanwhile does not teach",
                since=hour(now[0]), **place,
            )  # fmt: skip
        if now is None and before is not None:
            self._log.info("rewards come again", since=hour(before[0]), until=hour(before[1]), **place)

    def forget(self, uid: str) -> None:
        """The experiment was deleted."""
        self._said.pop(uid, None)


def hour(ms: int) -> str:
    """A time for people, UTC to the minute."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
