"""Pauses the arms that guardrails find harmful. Every server looks, and the store lets one of them write."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from service.analysis.guardrails import Harm, harms
from service.errors import ConflictError, InvalidError, UnavailableError
from service.experiment.compiled import Experiment, build
from service.experiment.guardrails import Pause
from service.experiment.parse import parse
from service.learning.feed import Feed
from service.management.pausing import paused_text
from service.process.loop import Loop
from service.serving.store_clock import StoreClock
from service.store.contract import Event, Put, Store

EVERY_S = 1.0
REST = 20.0  # times what a look took: where it takes long, it takes a twentieth of a core at most
PAUSED = "arm paused"


class Guardian:
    """A thread beside the feed's: looks at what was folded since its last turn, once a second."""

    def __init__(self, store: Store, feed: Feed, clock: StoreClock, state_max: int) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._state_max = state_max
        self._seen: dict[str, str] = {}  # of each experiment, the entry up to which it was judged
        self._rests_until = 0.0
        self._refused: set[tuple[str, int]] = set()  # versions that could not be changed: said once
        self._log = structlog.get_logger("lever.guardrails")
        self._loop = Loop("lever-guardrails", self.turn, EVERY_S)

    def start(self) -> None:
        """Begin to look."""
        self._loop.start()

    def stop(self) -> None:
        """End after the look under way."""
        self._loop.stop()

    def turn(self) -> bool:
        """Look at every experiment once; false where the store did not answer, so that it is soon done again."""
        if not self._feed.store_up or time.monotonic() < self._rests_until:
            return True
        began = time.thread_time()
        with self._feed.paused() as replicas:
            uids = list(replicas)
        self._seen = {uid: entry for uid, entry in self._seen.items() if uid in uids}
        away = [uid for uid in uids if not self._done(uid)]
        self._rests_until = time.monotonic() + REST * (time.thread_time() - began)
        return not away

    def _done(self, uid: str) -> bool:
        """Look at one experiment; false where the store did not answer."""
        looked = self._look(uid)
        try:
            if looked is not None:
                self._pause(*looked)
        except ConflictError:  # another server was first, or a person: the next look sees what they wrote
            self._seen.pop(uid, None)
        except UnavailableError:
            self._seen.pop(uid, None)
            return False
        return True

    def _look(self, uid: str) -> tuple[Experiment, list[Harm]] | None:
        """The experiment and the arms to pause; None where there are none."""
        with self._feed.paused() as replicas:  # one at a time: nothing is folded meanwhile
            replica = replicas.get(uid)
            if replica is None or not replica.begun:
                return None
            experiment = replica.experiment
            if self._seen.get(uid) == replica.cursor or (uid, experiment.version) in self._refused:
                return None
            self._seen[uid] = replica.cursor
            found = harms(replica)
        return (experiment, found) if found else None

    def _pause(self, experiment: Experiment, found: Sequence[Harm]) -> None:
        """Write the configuration with these arms paused. ConflictError, UnavailableError."""
        now_ms, text = self._clock.now_ms(), paused_text(experiment.text, (harm.arm for harm in found))
        pausing = {harm.arm: Pause(now_ms, harm.guardrail.metric, harm.guardrail.kind) for harm in found}
        by = f"guardrail {found[0].guardrail.metric}"
        try:
            record = build(parse(text), text, experiment.uid, now_ms, experiment, self._state_max, by, pausing)
        except InvalidError:
            self._refused.add((experiment.uid, experiment.version))
            self._log.exception("a guardrail could not pause an arm", experiment=experiment.name, arm=found[0].arm)
            return
        version = experiment.version + 1
        self._store.put(Put(experiment.uid, experiment.name, version, experiment.version, record))
        for harm in found:
            self._log.warning(
                "a guardrail paused an arm", experiment=experiment.name, arm=harm.arm, version=version, why=harm.why
            )
            who = f"guardrail {harm.guardrail.metric}"
            self._store.journal.note(Event(PAUSED, who, experiment.name, version, f"{harm.arm}: {harm.why}"))
