"""Group commit: rewards and exposures that come one by one are counted together.

What comes while a call of the store is on its way waits and goes in the next. So the way there and the flush to disk are
shared by all who come meanwhile, and who comes alone waits for nobody. Each is answered only once its own is durable.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from service.serving.rewarder import Event, RewardAnswer

MOST = 256  # events of a group: the store answers nobody else while it counts them, about half a millisecond

Answers = Sequence[RewardAnswer] | Exception  # one for each event, or why there is none
Count = Callable[[Sequence[Event]], Sequence[RewardAnswer]]  # UseCases.reward


class Late(Exception):  # noqa: N818  # nobody's error
    """The caller's deadline passed before the work began: nothing was counted."""


@dataclass(slots=True)  # not frozen, as a Claim is not
class Waiting:
    """Events that one caller waits for, until `deadline` by time.time(); `done` is told what became of them."""

    events: Sequence[Event]
    deadline: float
    done: Callable[[Answers], None]


class GroupCommit:
    """One queue, and one thread that empties it into `count`, a group at a time."""

    def __init__(
        self, count: Count, most: int, fault: Callable[[Exception], None], told: Callable[[], None] = lambda: None
    ) -> None:
        """`full` once more than `most` wait. `fault` hears what a `done` raised, which it should not; `told` is called once
        all of a group were.
        """
        self._count, self._most, self._fault, self._told = count, most, fault, told
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self.put: Callable[[Waiting], None] = self._queue.put
        self._thread = threading.Thread(target=self._run, name="lever-group-commit", daemon=True)

    @property
    def full(self) -> bool:
        """Too many wait already."""
        return self._queue.qsize() > self._most

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def stop(self) -> None:
        """Count what waits, then end. What is put later is not counted."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, last = self._with_those_behind(first)
            self._settle(group)
            try:
                self._told()
            except Exception as error:  # noqa: BLE001  # the next are counted still
                self._fault(error)
            if last:
                return

    def _with_those_behind(self, first: Waiting) -> tuple[list[Waiting], bool]:
        """A group, and whether it is the last one."""
        group, events = [first], len(first.events)
        while events < MOST:
            try:
                one = self._queue.get_nowait()
            except Empty:
                break
            if one is None:
                return group, True
            group.append(one)
            events += len(one.events)
        return group, False

    def _settle(self, group: Sequence[Waiting]) -> None:
        now = time.time()
        for one in group:
            if one.deadline < now:
                self._tell(one, Late())
        wanted = [one for one in group if one.deadline >= now]
        try:
            answers = self._count([event for one in wanted for event in one.events]) if wanted else ()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told to those whom it concerns
            if len(wanted) == 1:
                self._tell(wanted[0], error)
                return
            for one in wanted:  # a fault of one is not the others': counting again changes nothing
                self._settle([one])
            return
        at = 0
        for one in wanted:
            self._tell(one, answers[at : at + len(one.events)])
            at += len(one.events)

    def _tell(self, one: Waiting, answers: Answers) -> None:
        try:
            one.done(answers)
        except Exception as error:  # noqa: BLE001  # the others are told still
            self._fault(error)
