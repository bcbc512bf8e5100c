"""Where calls run: pools of threads, and the gate that they pass."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from service.errors import UnavailableError
from service.process.priority import give_way

P = ParamSpec("P")
T = TypeVar("T")


class Pool(futures.ThreadPoolExecutor):
    """Threads for one kind of call, and how many calls may wait for one of them."""

    def __init__(self, name: str, threads: int, waiting: int, *, patient: bool = False) -> None:
        """`patient` threads give way to others' choices."""
        super().__init__(max_workers=threads, thread_name_prefix=name, initializer=give_way if patient else None)
        self.name = name
        self.waiting = waiting
        self.queued = self._work_queue.qsize

    @property
    def full(self) -> bool:
        """Too many calls wait already."""
        return self.queued() > self.waiting


class Here(futures.ThreadPoolExecutor):
    """No threads: runs what it is given on grpc's own. For refusals, where the handing over would cost the most."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Run it now; it must not wait for anything."""
        done: futures.Future[T] = futures.Future()
        done.set_result(call(*args, **kwargs))
        return done


@dataclass(slots=True)
class Gate:
    """Whether calls that need the kernels and the snapshots are let in; `why` tells those who are not."""

    open: bool = False
    why: str = "starting"

    def check(self) -> None:
        """Raise UnavailableError while the gate is shut."""
        if not self.open:
            raise self.shut()

    def shut(self) -> UnavailableError:
        """What those hear who are not let in."""
        return UnavailableError(f"not ready: {self.why}", "NOT_READY")
