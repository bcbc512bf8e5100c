"""Says in the log which changes of an experiment's arms were detected; every server says it for itself."""

from __future__ import annotations

import structlog

from service.learning.replica import Replica


class ChangeLog:
    """Remembers what it has said, by experiment and segment."""

    def __init__(self) -> None:
        self._said: dict[str, dict[int, int]] = {}  # changes of each segment that are known, by uid
        self._log = structlog.get_logger("lever.feed")

    def derived(self, replica: Replica, *, first: bool) -> None:
        """A snapshot was derived; what had changed before the `first` one is known and not said."""
        experiment, said = replica.experiment, self._said.setdefault(replica.uid, {})
        for segment, cuts in replica.reviews.cuts().items():
            if len(cuts) > said.get(segment, 0) and not first:
                self._log.warning(
                    "the arms began to earn differently; what was learned before has no weight",
                    experiment=experiment.name, segment=experiment.segments.ids[segment],
                    from_ms=cuts[-1].from_ms, found_ms=cuts[-1].found_ms, in_all=len(cuts),
                )  # fmt: skip
            said[segment] = len(cuts)

    def forget(self, uid: str) -> None:
        """The experiment was deleted."""
        self._said.pop(uid, None)
